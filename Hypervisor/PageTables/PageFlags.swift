// What a mapping allows and what is known of it, whatever the format of the tables.

/// Attributes of a mapping in terms that all formats share.
///
/// Permissions are effective: they hold over all levels of the walk, not for the leaf alone.
@frozen public struct PageFlags: OptionSet, Hashable, Sendable {
    /// The bits; their values are not stable.
    public let rawValue: UInt16
    /// Flags from bits.
    @inlinable public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Data may be read.
    @inlinable public static var readable: PageFlags { PageFlags(rawValue: 1 << 0) }
    /// Data may be written (by the supervisor where CR0.WP is set).
    @inlinable public static var writable: PageFlags { PageFlags(rawValue: 1 << 1) }
    /// Instructions may be fetched.
    @inlinable public static var executable: PageFlags { PageFlags(rawValue: 1 << 2) }
    /// Ring 3 may use the mapping.
    @inlinable public static var user: PageFlags { PageFlags(rawValue: 1 << 3) }
    /// The translation survives a load of CR3.
    @inlinable public static var global: PageFlags { PageFlags(rawValue: 1 << 4) }
    /// The leaf has been used.
    @inlinable public static var accessed: PageFlags { PageFlags(rawValue: 1 << 5) }
    /// The leaf has been written through.
    @inlinable public static var dirty: PageFlags { PageFlags(rawValue: 1 << 6) }
    /// Bit 0 of the index into the page attribute table (x86: PWT).
    @inlinable public static var writeThrough: PageFlags { PageFlags(rawValue: 1 << 7) }
    /// Bit 1 of that index (x86: PCD).
    @inlinable public static var cacheDisable: PageFlags { PageFlags(rawValue: 1 << 8) }
    /// Bit 2 of that index (x86: PAT).
    @inlinable public static var attributeTable: PageFlags { PageFlags(rawValue: 1 << 9) }
    /// A bit is set that must not be: every access faults.
    @inlinable public static var reserved: PageFlags { PageFlags(rawValue: 1 << 10) }

    /// The supervisor may not fetch instructions, though ring 3 may (ARM: PXN; EPT with mode-based execute control: XS clear).
    @inlinable public static var noSupervisorExecute: PageFlags { PageFlags(rawValue: 1 << 11) }
    /// Ring 3 may not fetch instructions, though the supervisor may (EPT with mode-based execute control: XU clear).
    @inlinable public static var noUserExecute: PageFlags { PageFlags(rawValue: 1 << 12) }
    /// Ring 3 may not write, though the supervisor may (ARM: AP = 010).
    @inlinable public static var userReadOnly: PageFlags { PageFlags(rawValue: 1 << 13) }
    /// Mapped, but nothing may be done with it.
    @inlinable public static var noAccess: PageFlags { PageFlags(rawValue: 1 << 14) }

    /// The letters of the flags that are set, in the order `urwxgad`; what JSON shows: `urwxad`.
    public var letters: String { PageFlags.text(self, absent: nil) }

    /// Seven columns, a dash for what is not set: `urwx-ad`; what text shows.
    public var columns: String { PageFlags.text(self, absent: "-") }

    private static let order: [(PageFlags, Character)] = [
        (.user, "u"), (.readable, "r"), (.writable, "w"), (.executable, "x"), (.global, "g"), (.accessed, "a"),
        (.dirty, "d"),
    ]

    private static func text(_ flags: PageFlags, absent: Character?) -> String {
        var text = ""
        for (flag, letter) in order {
            if flags.contains(flag) { text.append(letter) } else if let absent { text.append(absent) }
        }
        return text
    }

    /// The index into the page attribute table, 0...7 (Intel SDM volume 3, 12.12.3).
    public var attributeIndex: Int {
        (contains(.writeThrough) ? 1 : 0) + (contains(.cacheDisable) ? 2 : 0) + (contains(.attributeTable) ? 4 : 0)
    }
}
