// Short descriptors (ARM ARM, B3.5.1): sections, supersections, large and small pages.

/// A first-level table and the second-level ones below it.
struct Tables {
    /// Where the first-level table is.
    let root: UInt32
    /// The next free place for a second-level table.
    nonisolated(unsafe) static var nextTable = Physical.secondLevel

    /// An empty table of 16 KiB.
    init(root: UInt32) {
        self.root = root
        Physical.clear(root, bytes: 16384)
    }

    /// Writes the first-level descriptor for an address.
    func set(_ va: UInt32, _ descriptor: UInt32) { Physical.write(descriptor, at: root &+ va >> 20 &* 4) }

    /// Maps 16 MiB by 16 equal descriptors.
    func supersection(_ va: UInt32, _ descriptor: UInt32) {
        for index in 0..<16 as Range<UInt32> { set(va &+ index << 20, descriptor) }
    }

    /// The second-level table for an address, made if there is none.
    ///
    /// - Parameter bits: of its descriptor: the domain, PXN.
    func secondLevel(_ va: UInt32, bits: UInt32) -> UInt32 {
        let at = root &+ va >> 20 &* 4
        let old = Physical.read(at)
        if old & 3 == 1 { return old & 0xffff_fc00 }
        let table = Tables.nextTable
        Tables.nextTable &+= 1024
        Physical.clear(table, bytes: 1024)
        Physical.write(table | bits | 1, at: at)
        return table
    }

    /// Writes the second-level descriptor for an address.
    func page(_ va: UInt32, _ descriptor: UInt32, tableBits: UInt32 = 0) {
        let table = secondLevel(va, bits: tableBits)
        Physical.write(descriptor, at: table &+ (va >> 12 & 255) &* 4)
    }

    /// Maps 64 KiB by 16 equal descriptors.
    func largePage(_ va: UInt32, _ descriptor: UInt32, tableBits: UInt32 = 0) {
        for index in 0..<16 as Range<UInt32> { page(va &+ index << 12, descriptor, tableBits: tableBits) }
    }
}

/// Parts of descriptors.
enum Bits {
    static let section: UInt32 = 2
    static let largePage: UInt32 = 1
    static let smallPage: UInt32 = 2
    /// AP = 001: for the kernel alone, to read and write.
    static let kernelSection: UInt32 = 1 << 10
    static let kernelPage: UInt32 = 1 << 4

    /// AP[2:0] and XN in a section.
    static func section(ap: UInt32, xn: Bool) -> UInt32 {
        section | (ap & 3) << 10 | (ap & 4) << 13 | (xn ? 1 << 4 : 0)
    }
    /// AP[2:0] and XN in a large page.
    static func large(ap: UInt32, xn: Bool) -> UInt32 {
        largePage | (ap & 3) << 4 | (ap & 4) << 7 | (xn ? 1 << 15 : 0)
    }
    /// AP[2:0] and XN in a small page.
    static func small(ap: UInt32, xn: Bool) -> UInt32 {
        smallPage | (ap & 3) << 4 | (ap & 4) << 7 | (xn ? 1 : 0)
    }
}
