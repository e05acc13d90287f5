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

    /// The CPUs of a note segment.
    ///
    /// - Parameter bytes: of the segment: notes one after the other, name and descriptor padded to 4 bytes.
    static func cpus(in bytes: [UInt8]) throws(CoreError) -> [CoreCPU] {
        let reader = ByteReader(bytes: bytes)
        var cpus: [CoreCPU] = []
        var place = 0
        while bytes.count - place >= 12 {
            guard let nameSize = reader.word(place), let size = reader.word(place + 4),
                let type = reader.word(place + 8)
            else { break }
            let name = place + 12
            // Both are below 2^32, so these sums cannot run over.
            let descriptor = name + Int((nameSize + 3) & ~3)
            let next = descriptor + Int((size + 3) & ~3)
            guard descriptor + Int(size) <= bytes.count else {
                throw .note("the note at byte \(place) of its segment ends at \(next), the segment at \(bytes.count)")
            }
            if nameSize == 5, type == 0, bytes[name..<name + 5].elementsEqual([0x51, 0x45, 0x4d, 0x55, 0]) {
                guard cpus.count < limit else { throw .note("more than \(limit) CPUs") }
                let body = ByteReader(bytes: Array(bytes[descriptor..<descriptor + Int(size)]))
                cpus.append(try CoreCPU(body, number: cpus.count))
            }
            place = next
        }
        return cpus
    }
}
