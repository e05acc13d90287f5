// What may be done with a mapping, and how an entry says so.

/// Read, write, execute; the values of `enum vitrine_protection`.
struct Protection: OptionSet {
    let rawValue: UInt64
    static var none: Protection { [] }
    static var read: Protection { Protection(rawValue: 1) }
    static var write: Protection { Protection(rawValue: 2) }
    static var execute: Protection { Protection(rawValue: 4) }

    /// Whether PROT_NONE is a present leaf with reserved bit 51, else an absent one with a software bit.
    nonisolated(unsafe) static var usesReservedBit = true

    /// Bits of a 4 KiB leaf.
    var leafBits: UInt64 {
        if isEmpty && Break.at("prot-none") { return OSv.leafBits4K | OSv.protNoneBit | PageTable.noExecute }
        if isEmpty {
            return Protection.usesReservedBit
                ? (OSv.leafBits4K & ~PageTable.writable) | OSv.protNoneBit | PageTable.noExecute
                : OSv.protNoneSoftwareBit
        }
        var bits = OSv.leafBits4K
        if !contains(.write) { bits &= ~PageTable.writable }
        if !contains(.execute) && Plan.current.name != .resea { bits |= PageTable.noExecute }
        return bits
    }

    /// The protection of a leaf whose frame is shared: a write is to fault and to split it.
    var sharedLeafBits: UInt64 {
        contains(.write) ? (leafBits & ~PageTable.writable) | OSv.copyOnWriteBit : leafBits
    }

    /// The letters of the monitor's answers.
    func write(to writer: inout TextWriter) {
        if isEmpty { writer.text("none") }
        if contains(.read) { writer.byte(0x72) }
        if contains(.write) { writer.byte(0x77) }
        if contains(.execute) { writer.byte(0x78) }
    }
}
