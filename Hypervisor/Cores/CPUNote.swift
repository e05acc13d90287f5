// The note that QEMU writes for each CPU into a core: QEMUCPUState version 1 (QEMU, target/i386/arch_dump.c).
//
//     offset 0    4     8                    152                        392           432
//           | ver | size | rax...rflags: 18 x 8 | cs...idt: 10 x 24 bytes | cr0...cr4 | kernel_gs_base |

/// A segment register in a core.
public struct CoreSegmentRegister: Hashable, Sendable {
    /// Its name: `cs`, `gdt`.
    public let name: String
    /// The visible part.
    public let selector: UInt32
    /// The limit in bytes.
    public let limit: UInt32
    /// The second word of the descriptor, access rights at bits 8-15 and 20-23.
    public let flags: UInt32
    /// The linear address.
    public let base: UInt64

    /// A segment register.
    public init(name: String, selector: UInt32, limit: UInt32, flags: UInt32, base: UInt64) {
        self.name = name
        self.selector = selector
        self.limit = limit
        self.flags = flags
        self.base = base
    }
}

/// A CPU's registers in a core.
public struct CoreCPU: Hashable, Sendable {
    /// General registers: `rax`, ... `rip`, `rflags`, `cr0`, ... `cr4`; `kernel_gs_base` where QEMU is new enough.
    public let registers: [String: UInt64]
    /// `cs`, `ds`, `es`, `fs`, `gs`, `ss`, `ldt`, `tr`, `gdt`, `idt`.
    public let segments: [CoreSegmentRegister]

    /// A register, or 0.
    public subscript(name: String) -> UInt64 { registers[name] ?? 0 }

    /// Names in the order of the note.
    public static let names = [
        "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
        "rip", "rflags",
    ]
    private static let segmentNames = ["cs", "ds", "es", "fs", "gs", "ss", "ldt", "tr", "gdt", "idt"]
    /// Bytes up to and with cr4.
    static let smallest = 432

    /// Reads a note's descriptor; `number` is the CPU's, for messages.
    init(_ descriptor: ByteReader, number: Int) throws(CoreError) {
        guard let version = descriptor.word(0), let size = descriptor.word(4) else {
            throw .note("the note of CPU \(number) has \(descriptor.bytes.count) bytes")
        }
        guard version == 1 else { throw .note("the note of CPU \(number) has version \(version), known is 1") }
        guard size >= UInt64(CoreCPU.smallest), size <= UInt64(descriptor.bytes.count) else {
            throw .note(
                "the note of CPU \(number) says it has \(size) bytes; it has \(descriptor.bytes.count), and "
                    + "\(CoreCPU.smallest) are the least")
        }
        var registers: [String: UInt64] = [:]
        for (index, name) in CoreCPU.names.enumerated() { registers[name] = descriptor.double(8 + 8 * index) ?? 0 }
        for index in 0..<5 { registers["cr\(index)"] = descriptor.double(392 + 8 * index) ?? 0 }
        if size >= 440 { registers["kernel_gs_base"] = descriptor.double(432) ?? 0 }
        self.registers = registers
        segments = CoreCPU.segmentNames.enumerated().map { index, name in
            let place = 152 + 24 * index
            func word(_ offset: Int) -> UInt32 { UInt32(descriptor.word(place + offset) ?? 0) }
            return CoreSegmentRegister(
                name: name, selector: word(0), limit: word(4), flags: word(8),
                base: descriptor.double(place + 16) ?? 0)
        }
    }

    /// More CPUs than any machine has.
    static let limit = 65536

    /// A CPU with these registers; what is not named is 0.
    public init(registers: [String: UInt64], segments: [CoreSegmentRegister]) {
        self.registers = registers
        self.segments = segments
    }

    /// The note's descriptor, of 440 bytes.
    var descriptor: [UInt8] {
        var body = bytes(1 as UInt32) + bytes(440 as UInt32)
        for name in CoreCPU.names { body += bytes(self[name]) }
        for name in CoreCPU.segmentNames {
            let segment = segments.first { $0.name == name }
            body += bytes(segment?.selector ?? 0) + bytes(segment?.limit ?? 0) + bytes(segment?.flags ?? 0)
            body += bytes(0 as UInt32) + bytes(segment?.base ?? 0)
        }
        for number in 0..<5 { body += bytes(self["cr\(number)"]) }
        return body + bytes(self["kernel_gs_base"])
    }
}
