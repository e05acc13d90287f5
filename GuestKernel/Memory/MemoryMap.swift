// What the start info says: command line, memory map, modules (xen/include/public/arch-x86/hvm/start_info.h).

/// A range of physical addresses, the end not included.
struct PhysicalRange {
    var start: UInt64
    var end: UInt64
}

/// One module: a program, or the initrd.
struct BootModule {
    /// Physical address of its first byte.
    var address: UInt64
    /// Bytes.
    var size: UInt64
    /// Physical address of its NUL-terminated file name, or 0.
    var name: UInt64
}

/// RAM, by ascending address; at most `capacity` ranges.
struct MemoryMap: ~Copyable {
    static var capacity: Int { 32 }
    private var ranges = InlineArray<32, PhysicalRange>(repeating: PhysicalRange(start: 0, end: 0))
    private(set) var count = 0
    /// The sum of all ranges.
    private(set) var total: UInt64 = 0

    subscript(index: Int) -> PhysicalRange { ranges[index] }

    /// Forgets what lies at or above an address.
    mutating func limit(to end: UInt64) {
        while count > 0 && ranges[count &- 1].start >= end { count &-= 1 }
        if count > 0 && ranges[count &- 1].end > end { ranges[count &- 1].end = end }
    }

    /// Adds a range, cut to whole pages; sorted by its start.
    mutating func add(_ start: UInt64, _ size: UInt64) {
        let from = (start &+ 4095) & ~4095
        let to = (start &+ size) & ~4095
        total &+= size
        guard to > from, count < MemoryMap.capacity else { return }
        var at = count
        while at > 0 && ranges[at &- 1].start > from {
            ranges[at] = ranges[at &- 1]
            at &-= 1
        }
        ranges[at] = PhysicalRange(start: from, end: to)
        count &+= 1
    }
}

/// The start info that the monitor handed over.
enum StartInfo {
    /// More modules than this are not looked at: 31 namespaces, the first program, and room to be refused.
    static var moduleLimit: Int { 64 }

    nonisolated(unsafe) private static var base: UInt64 = 0
    nonisolated(unsafe) private(set) static var moduleCount = 0
    nonisolated(unsafe) private static var moduleList: UInt64 = 0

    /// Reads the memory map; false if this is no start info.
    static func read(_ address: UInt64, into map: inout MemoryMap) -> Bool {
        guard field32(address, 0) == Contract.startInfoMagic else { return false }
        base = address
        let modules = field32(address, 12)
        moduleCount = Int(modules) < moduleLimit ? Int(modules) : moduleLimit
        moduleList = field64(address, 16)
        guard field32(address, 4) >= 1 else { return false }
        let table = field64(address, 40)
        let entries = field32(address, 48)
        var index: UInt32 = 0
        while index < entries && index < 128 {
            let entry = table &+ 24 &* UInt64(index)
            if field32(entry, 16) == 1 { map.add(field64(entry, 0), field64(entry, 8)) }
            index &+= 1
        }
        return map.count > 0
    }

    /// Module `index` (0...).
    static func module(_ index: Int) -> BootModule? {
        guard index >= 0 && index < moduleCount else { return nil }
        let entry = moduleList &+ 32 &* UInt64(index)
        return BootModule(address: field64(entry, 0), size: field64(entry, 8), name: field64(entry, 16))
    }

    /// The command line, NUL-terminated, at its linear address.
    static var commandLine: UnsafePointer<CChar>? {
        let address = field64(base, 24)
        return address == 0 ? nil : text(at: address)
    }

    /// Text at a physical address.
    static func text(at address: UInt64) -> UnsafePointer<CChar>? {
        UnsafePointer(bitPattern: UInt(PageTable.linear(address)))
    }

    private static func field32(_ base: UInt64, _ offset: UInt64) -> UInt32 {
        read_register(PageTable.linear(base &+ offset))
    }
    private static func field64(_ base: UInt64, _ offset: UInt64) -> UInt64 {
        read_word(PageTable.linear(base &+ offset))
    }
}

/// Words of the command line.
enum CommandLine {
    /// What follows `key` (for example "cpus=") at the start of a word: to the end of the line.
    static func value(_ key: StaticString) -> UnsafePointer<CChar>? {
        guard let line = StartInfo.commandLine else { return nil }
        let length = key.utf8CodeUnitCount
        let start = key.utf8Start
        var at = 0
        while at < Contract.commandLineLimit && line[at] != 0 {
            if at == 0 || line[at &- 1] == 0x20 {
                var matched = 0
                while matched < length && UInt8(bitPattern: line[at &+ matched]) == start[matched] { matched &+= 1 }
                if matched == length { return line + at + length }
            }
            at &+= 1
        }
        return nil
    }

    /// A decimal number after `key`.
    static func number(_ key: StaticString) -> UInt64? {
        guard let text = value(key) else { return nil }
        var result: UInt64 = 0
        var digits = 0
        while digits < 18, text[digits] >= 0x30, text[digits] <= 0x39 {
            result = result &* 10 &+ UInt64(UInt8(bitPattern: text[digits]) &- 0x30)
            digits &+= 1
        }
        return digits == 0 ? nil : result
    }
}
