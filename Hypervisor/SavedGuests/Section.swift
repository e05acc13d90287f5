// The frame of a saved guest (docs/saved-guests.md): a header, then sections one after the other. Numbers are little-endian.
//
//     header, 32 bytes     magic 8 | version 4 | size 4 | 0 x 12 | CRC of these 28
//     section              kind 4 | index 4 | length 8 | CRC of the contents 4 | CRC of these 20 | contents
//
// Both are read front to back, so that a guest goes through a pipe. A section says its index, so that one that is
// missing, repeated or moved is noticed.

import CSystem

/// What a section holds; the raw value is its number in the file.
public enum SectionKind: UInt32, CaseIterable, Sendable {
    /// What the machine is made of. The first.
    case description = 1
    /// What CPUID answers.
    case processor = 2
    /// A run of RAM's pages.
    case ram = 3
    /// A vCPU.
    case vcpu = 4
    /// Interrupt controllers, timer, clock.
    case chips = 5
    /// The devices on ports.
    case devices = 6
    /// How far the guest has come: stages, counters.
    case progress = 7
    /// The page tables of a boot stage.
    case stageTables = 8
    /// What the monitor knows of the guest.
    case monitor = 9
    /// Nothing follows.
    case end = 10

    /// The name in messages.
    public var name: String {
        switch self {
        case .description: return "description"
        case .processor: return "processor"
        case .ram: return "RAM"
        case .vcpu: return "vCPU"
        case .chips: return "chips"
        case .devices: return "devices"
        case .progress: return "progress"
        case .stageTables: return "stage tables"
        case .monitor: return "monitor"
        case .end: return "end"
        }
    }

    /// The most bytes such a section has. Nothing is allocated for one that claims more.
    var limit: UInt64 {
        switch self {
        case .ram: return 8 + UInt64(SavedGuestFormat.ramChunk)
        case .stageTables: return 64 + 4096 * (8 + 4096)
        case .end: return 64
        default: return 1 << 20
        }
    }
}

/// Numbers of the format.
public enum SavedGuestFormat {
    /// The version that is written, and the newest that is read.
    public static let version: UInt32 = 1
    /// The most bytes of RAM in one section.
    public static let ramChunk = 1 << 20
    /// The first bytes.
    static let magic = Array("VITRGST\n".utf8)
    static let headerSize = 32
    static let sectionHeaderSize = 24

    /// CRC-32C (RFC 3720, appendix B.4).
    ///
    /// - Parameter usesInstruction: by the processor's instruction, if it has one; false is for tests.
    public static func checksum(_ bytes: UnsafeRawBufferPointer, usesInstruction: Bool = true) -> UInt32 {
        csystem_crc32c(bytes.baseAddress, bytes.count, usesInstruction ? 1 : 0)
    }

    static func checksum(_ bytes: [UInt8]) -> UInt32 { bytes.withUnsafeBytes { checksum($0) } }
}

/// A section that was read.
public struct Section: Sendable {
    /// What it holds.
    public let kind: SectionKind
    /// Where its contents begin, in bytes from the start of the saved guest.
    public let offset: UInt64
    /// Its contents, which have the checksum that it says.
    public let bytes: [UInt8]

    /// A reader of its fields.
    public var fields: FieldReader { FieldReader(bytes, offset: offset, section: kind.name) }
}
