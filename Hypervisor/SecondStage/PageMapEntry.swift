// What /proc/PID/pagemap says of a page.

/// An entry of /proc/PID/pagemap.
struct PageMapEntry {
    let rawValue: UInt64
    init(_ rawValue: UInt64) { self.rawValue = rawValue }

    var isPresent: Bool { rawValue >> 63 != 0 }
    var isSwapped: Bool { rawValue >> 62 & 1 != 0 }
    /// The frame; nil if there is none, or it is not shown (0).
    var frame: UInt64? {
        let frame = rawValue & ((1 << 55) - 1)
        return isPresent && frame != 0 ? frame : nil
    }

    var flags: BackingFlags {
        var flags: BackingFlags = isPresent ? .present : .swapped
        if rawValue >> 61 & 1 != 0 { flags.insert(.shared) }
        if rawValue >> 56 & 1 != 0 { flags.insert(.exclusive) }
        if rawValue >> 55 & 1 != 0 { flags.insert(.softDirty) }
        return flags
    }
}
