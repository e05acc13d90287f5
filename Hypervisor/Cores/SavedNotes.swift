// The notes that Vitrine adds to a dump it saves: what QEMU's notes leave out.

/// What a saved dump knows of a CPU beyond QEMU's note. Owner `Vitrine`, type 0x5602: four 8-byte words; one note a CPU.
public struct SavedCPU: Hashable, Sendable {
    /// IA32_EFER.
    public var efer: UInt64
    /// IA32_PAT; 0 if not known.
    public var pat: UInt64
    /// MAXPHYADDR.
    public var maxPhysicalAddressBits: UInt64

    /// These values.
    public init(efer: UInt64, pat: UInt64, maxPhysicalAddressBits: Int) {
        self.efer = efer
        self.pat = pat
        self.maxPhysicalAddressBits = UInt64(max(0, maxPhysicalAddressBits))
    }

    /// The owner of the notes.
    static let owner = Array("Vitrine\0".utf8)
    /// Debuggers take the small numbers for Linux's notes, whoever their owner is. Older dumps have those all the same.
    static let base: UInt64 = 0x5600
    /// A CPU.
    static let cpuType: UInt64 = base + 2
    /// The layout's name, as text.
    static let layoutType: UInt64 = base + 3

    /// From a note's descriptor; nil if it is not one.
    init?(_ descriptor: ByteReader) {
        guard let efer = descriptor.double(0), let pat = descriptor.double(8), let bits = descriptor.double(16),
            (32...52).contains(bits)
        else { return nil }
        self.efer = efer
        self.pat = pat
        maxPhysicalAddressBits = bits
    }

    /// The note's descriptor.
    var descriptor: [UInt8] { bytes(efer) + bytes(pat) + bytes(maxPhysicalAddressBits) + bytes(0 as UInt64) }
}

/// What a saved dump knows of an ARM CPU. Owner `Vitrine`, type 0x5604: six 8-byte words; one note a CPU.
public struct SavedARMCPU: Hashable, Sendable {
    /// SCTLR.
    public var sctlr: UInt32
    /// TTBCR.
    public var ttbcr: UInt32
    /// TTBR0.
    public var ttbr0: UInt32
    /// TTBR1.
    public var ttbr1: UInt32
    /// DACR.
    public var dacr: UInt32
    /// Whether the processor has PXN.
    public var hasPXN: Bool

    /// These values.
    public init(sctlr: UInt32, ttbcr: UInt32, ttbr0: UInt32, ttbr1: UInt32, dacr: UInt32, hasPXN: Bool) {
        self.sctlr = sctlr
        self.ttbcr = ttbcr
        self.ttbr0 = ttbr0
        self.ttbr1 = ttbr1
        self.dacr = dacr
        self.hasPXN = hasPXN
    }

    /// The type of the note.
    static let type: UInt64 = SavedCPU.base + 4

    /// From a note's descriptor; nil if it is not one.
    init?(_ descriptor: ByteReader) {
        let words = (0..<6).compactMap { descriptor.double(8 * $0).flatMap { UInt32(exactly: $0) } }
        guard words.count == 6, words[5] < 2 else { return nil }
        self.init(
            sctlr: words[0], ttbcr: words[1], ttbr0: words[2], ttbr1: words[3], dacr: words[4], hasPXN: words[5] == 1)
    }

    /// The note's descriptor.
    var descriptor: [UInt8] {
        [sctlr, ttbcr, ttbr0, ttbr1, dacr, hasPXN ? 1 : 0].flatMap { bytes(UInt64($0)) }
    }
}

/// The bytes of a number, little-endian.
func bytes(_ number: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: number.littleEndian) { Array($0) } }

/// Everything the notes of a core say.
struct CoreNotes {
    var cpus: [CoreCPU] = []
    var saved: [SavedCPU] = []
    var arm: [SavedARMCPU] = []
    var layout: String?
}

extension CoreNotes {
    /// Adds the notes of a note segment.
    ///
    /// - Parameter bytes: of the segment: notes one after the other, name and descriptor padded to 4 bytes.
    mutating func add(_ bytes: [UInt8]) throws(CoreError) {
        let reader = ByteReader(bytes: bytes)
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
            let isOurs = bytes[name..<min(name + Int(nameSize), descriptor)].elementsEqual(SavedCPU.owner)
            let own = isOurs && type < SavedCPU.base ? type + SavedCPU.base : type
            let owner = bytes[name..<min(name + Int(nameSize), descriptor)]
            let body = ByteReader(bytes: Array(bytes[descriptor..<descriptor + Int(size)]))
            if owner.elementsEqual(Array("QEMU\0".utf8)), type == 0 {
                guard cpus.count < CoreCPU.limit else { throw .note("more than \(CoreCPU.limit) CPUs") }
                cpus.append(try CoreCPU(body, number: cpus.count))
            } else if isOurs, own == SavedCPU.cpuType {
                guard let cpu = SavedCPU(body), saved.count < CoreCPU.limit else {
                    throw .note("the note of Vitrine at byte \(place) of its segment makes no sense")
                }
                saved.append(cpu)
            } else if isOurs, own == SavedARMCPU.type {
                guard let cpu = SavedARMCPU(body), arm.count < CoreCPU.limit else {
                    throw .note("the ARM note of Vitrine at byte \(place) of its segment makes no sense")
                }
                arm.append(cpu)
            } else if isOurs, own == SavedCPU.layoutType, size <= 64 {
                layout = String(decoding: body.bytes, as: UTF8.self)
            }
            place = next
        }
    }
}
