// The tables of each variant, and the addresses that the guest asks its own processor about.

enum Variant: UInt32 {
    /// One set of tables (TTBCR.N = 0) with every kind of descriptor.
    case short = 0
    /// Two sets (TTBCR.N = 2): below 1 GiB by TTBR0, above by TTBR1; SCTLR.AFE set.
    case split = 1
    /// course_os (rellermeyer/course_os, kernel/src/vm): TTBCR.N = 1, the kernel's table at PA 0x4000 by TTBR1, the first
    /// GiB of PA at 0x8000_0000, the heap at 0xC000_0000, devices from 4 GiB downwards, a process by TTBR0.
    case courseos = 2
}

/// Domain 0 is checked, 1 is all-powerful, 2 and 3 have no access (3 by the reserved value); the others are checked.
private let domains: UInt32 = 0x5555_558d
/// 16 MiB of frames for supersections and sections, and where pages begin.
private let pageFrames: UInt32 = 0x0200_0000

/// Builds a variant's tables and puts them in force.
func build(_ variant: Variant, uart: UInt32) {
    let kernel = Tables(root: Physical.firstLevel)
    // The image, its tables and the frames; devices in the last MiB.
    for mebibyte in 0..<64 as Range<UInt32> {
        kernel.set(Physical.window &+ mebibyte << 20, mebibyte << 20 | Bits.section | Bits.kernelSection)
    }
    kernel.set(0xfff0_0000, uart & 0xfff0_0000 | Bits.section | Bits.kernelSection)
    switch variant {
    case .short:
        everything(kernel)
        arm_set_tables(0, Physical.firstLevel, 0, domains)
    case .split:
        let user = Tables(root: Physical.userFirstLevel)
        for index in 0..<16 as Range<UInt32> {
            user.set(
                0x3f00_0000 &+ index << 20,
                Physical.frames.lowerBound &+ index << 20 | Bits.section(ap: index & 7, xn: index > 7))
            user.page(0x0010_0000 &+ index << 12, pageFrames &+ index << 13 | Bits.small(ap: index & 7, xn: index > 7))
        }
        everything(kernel)
        arm_enable_access_flag()
        arm_set_tables(2, Physical.userFirstLevel, Physical.firstLevel, domains)
    case .courseos:
        // vm2_allocate_page: KernelRW, not executable; scattered frames.
        for page in 0..<300 as Range<UInt32> {
            let frame = pageFrames &+ (page &* 7 & 0x3ff) << 12
            kernel.page(0xc000_0000 &+ page << 12, frame | Bits.small(ap: 1, xn: true))
        }
        // KernelRO, executable: the only other permission a kernel page can have there.
        kernel.page(0xc020_0000, pageFrames | Bits.small(ap: 5, xn: false))
        // A process: text (UserRO), data and stack (UserRW), none global.
        let user = Tables(root: Physical.userFirstLevel)
        let notGlobal: UInt32 = 1 << 11
        for page in 0..<8 as Range<UInt32> {
            user.page(
                0x0000_8000 &+ page << 12,
                pageFrames &+ 0x80_0000 &+ page << 12 | Bits.small(ap: 2, xn: false) | notGlobal)
            user.page(
                0x0040_0000 &+ page << 12,
                pageFrames &+ 0x90_0000 &+ page << 13 | Bits.small(ap: 3, xn: true) | notGlobal)
            user.page(
                0x7fff_8000 &+ page << 12,
                pageFrames &+ 0xa0_0000 &+ page << 12 | Bits.small(ap: 3, xn: true) | notGlobal)
        }
        arm_set_tables(1, Physical.userFirstLevel, Physical.firstLevel, 1)
    }
}

/// Every kind of descriptor with every permission, from 0x4000_0000 on.
private func everything(_ tables: Tables) {
    // Sections: AP, XN, bit 0 (PXN, or reserved), domains 0 to 3, nG and S.
    for index in 0..<128 as Range<UInt32> {
        let bits = Bits.section(ap: index & 7, xn: index & 8 != 0) | index >> 4 & 1 | (index >> 5 & 3) << 5
        let frame = Physical.frames.lowerBound &+ (index & 15) << 20
        tables.set(0x4000_0000 &+ index << 20, frame | bits | (index & 3) << 16 | (index & 7) << 12)
    }
    // Supersections: the frames, twice with other permissions, above 4 GiB (bits 35:32 and 39:36), and one entry missing.
    tables.supersection(0x5000_0000, 0x0100_0000 | 1 << 18 | Bits.section(ap: 3, xn: false))
    tables.supersection(0x5100_0000, 0x0200_0000 | 1 << 18 | Bits.section(ap: 5, xn: true))
    tables.supersection(0x5200_0000, 0x0100_0000 | 1 << 18 | 5 << 20 | Bits.section(ap: 1, xn: false))
    tables.supersection(0x5300_0000, 0x0200_0000 | 1 << 18 | 3 << 5 | Bits.section(ap: 7, xn: false))
    tables.supersection(0x5400_0000, 0x0300_0000 | 1 << 18 | Bits.section(ap: 6, xn: false))
    tables.set(0x5470_0000, 0)
    // Large and small pages below tables of each domain, with and without PXN.
    for table in 0..<8 as Range<UInt32> {
        let base = 0x6000_0000 &+ table << 20
        let bits = (table & 3) << 5 | (table & 4)
        for index in 0..<6 as Range<UInt32> {
            tables.largePage(
                base &+ index << 16,
                pageFrames &+ (table << 3 &+ index) << 16 | Bits.large(ap: index &+ table, xn: index & 1 != 0),
                tableBits: bits)
        }
        // A large page of which entries differ: the processor uses the one it needs.
        tables.page(base &+ 0x3_5000, pageFrames | Bits.large(ap: 3, xn: false), tableBits: bits)
        tables.page(base &+ 0x4_f000, 0, tableBits: bits)
        for index in 0..<144 as Range<UInt32> where index % 9 != 8 {
            // Runs of pages that follow each other, one page again and again, and others.
            let frame = index < 48 ? index : index < 64 ? 7 : index &* 5
            tables.page(
                base &+ 0x6_0000 &+ index << 12,
                pageFrames &+ table << 20 &+ frame << 12
                    | Bits.small(ap: index < 64 ? 3 : index &+ table, xn: index & 16 != 0) | (index >> 6 & 3) << 10,
                tableBits: bits)
        }
    }
    // A table that two entries refer to.
    tables.set(0x6f00_0000, Physical.read(tables.root &+ 0x600 &* 4))
    // The tables themselves.
    tables.set(0x7000_0000, 0 | Bits.section(ap: 1, xn: true))
}
