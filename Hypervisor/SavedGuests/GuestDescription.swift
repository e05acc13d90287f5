// The first section of a saved guest: what the machine is made of.

/// What a saved guest's machine is made of, and whether it ran.
public struct GuestDescription: Equatable, Sendable {
    /// A memory slot.
    public struct Slot: Equatable, Sendable {
        /// What it is for.
        public var name: String
        /// The guest physical address.
        public var address: UInt64
        /// In bytes.
        public var size: UInt64

        /// A slot.
        public init(name: String, address: UInt64, size: UInt64) {
            self.name = name
            self.address = address
            self.size = size
        }
    }

    /// The guest's name.
    public var name = ""
    /// The layout's name.
    public var layout = ""
    /// RAM in bytes.
    public var memory: UInt64 = 0
    /// The number of vCPUs.
    public var vcpus = 0
    /// The path of the kernel.
    public var kernel = ""
    /// The path of the initrd.
    public var initrd: String?
    /// The paths of the programs.
    public var programs: [String] = []
    /// What was appended to the kernel's command line.
    public var commandLine = ""
    /// The size of the huge pages behind RAM in bytes; 0: none.
    public var hugePages: UInt64 = 0
    /// The memory slots, by ascending address.
    public var slots: [Slot] = []
    /// Whether the guest ran when it was saved.
    public var wasRunning = false

    /// An empty description.
    public init() {}

    /// The fields of its section.
    public var fields: FieldWriter {
        var fields = FieldWriter()
        fields.text(name)
        fields.text(layout)
        fields.u64(memory)
        fields.u32(UInt32(clamping: vcpus))
        fields.text(kernel)
        fields.flag(initrd != nil)
        if let initrd { fields.text(initrd) }
        fields.u32(UInt32(clamping: programs.count))
        for program in programs { fields.text(program) }
        fields.text(commandLine)
        fields.u64(hugePages)
        fields.u32(UInt32(clamping: slots.count))
        for slot in slots {
            fields.text(slot.name)
            fields.u64(slot.address)
            fields.u64(slot.size)
        }
        fields.flag(wasRunning)
        return fields
    }

    /// Reads a section.
    public init(_ section: Section) throws(SavedGuestError) {
        guard section.kind == .description else {
            throw .input("the first section of the saved guest is \(section.kind.name) instead of description")
        }
        var fields = section.fields
        name = try fields.text("name")
        layout = try fields.text("layout")
        memory = try fields.u64("memory")
        vcpus = Int(try fields.u32("vcpus"))
        guard (1...65536).contains(vcpus) else { throw fields.wrong("vcpus", "\(vcpus)") }
        kernel = try fields.text("kernel")
        initrd = try fields.flag("has an initrd") ? try fields.text("initrd") : nil
        for number in 0..<(try fields.count("number of programs", limit: 4096)) {
            programs.append(try fields.text("program \(number)"))
        }
        commandLine = try fields.text("command line", limit: 65536)
        hugePages = try fields.u64("huge pages")
        for number in 0..<(try fields.count("number of slots", limit: 64)) {
            let name = try fields.text("name of slot \(number)")
            let address = try fields.u64("address of slot \(number)")
            slots.append(Slot(name: name, address: address, size: try fields.u64("size of slot \(number)")))
        }
        wasRunning = try fields.flag("was running")
        try fields.end()
    }
}
