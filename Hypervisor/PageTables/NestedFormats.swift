// AMD's nested paging: the second stage of SVM, guest physical to host physical (AMD64 Architecture Programmer's Manual
// volume 2, 15.25 "Nested Paging").

extension PageTableFormat {
    /// Nested tables in an x86 format: that of the host's mode when the guest was entered (APM 2, 15.25.3).
    ///
    /// The entries are those of the host format, read as every access of a guest counts: as one of user mode
    /// (APM 2, 15.25.5). So an entry without U/S maps nothing for the guest, R/W counts whatever CR0.WP says, and the
    /// guest's own privilege is not known here: no mapping has the flag `user`. Global means nothing.
    ///
    /// - Parameter host: for instance `.x86FourLevel(maxPhysicalAddressBits: 48)`.
    public static func nested(_ host: PageTableFormat) -> PageTableFormat {
        let executeDisable = host.denyMask & X86Bit.executeDisable
        return PageTableFormat(
            name: "NPT \(host.name)", entrySize: host.entrySize, virtualBits: host.virtualBits,
            // A guest physical address has no sign.
            signExtended: false, presentMask: host.presentMask, grantMask: host.grantMask, denyMask: host.denyMask,
            flagRules: [
                FlagRule(.readable, .path, .all(of: X86Bit.user)),
                FlagRule(.writable, .path, .all(of: X86Bit.user | X86Bit.writable)),
                FlagRule(.executable, .path, .all(of: X86Bit.user | executeDisable)),
                FlagRule(.accessed, .leaf, .all(of: X86Bit.accessed)),
                FlagRule(.dirty, .leaf, .all(of: X86Bit.dirty)),
                FlagRule(.writeThrough, .leaf, .all(of: X86Bit.writeThrough)),
                FlagRule(.cacheDisable, .leaf, .all(of: X86Bit.cacheDisable)),
            ],
            namedBits: host.namedBits, tableNames: host.tableNames, levels: host.levels)
    }
}
