// Physical memory as the guest sees it: PA 0 is at VA 0x8000_0000 in every variant.

enum Physical {
    /// Where PA 0 is.
    static let window: UInt32 = 0x8000_0000
    /// The first-level table, where course_os has it.
    static let firstLevel: UInt32 = 0x4000
    /// A first-level table for TTBR0, in the variants that have two.
    static let userFirstLevel: UInt32 = 0x0010_0000
    /// Second-level tables, 1 KiB each, from here on.
    static let secondLevel: UInt32 = 0x0020_0000
    /// Frames that test mappings refer to: 48 MiB, each page begins with an `svc`.
    static let frames: ClosedRange<UInt32> = 0x0100_0000...0x03ff_ffff
    /// Which variant to build: QEMU's loader device writes it (`-device loader,addr=0x100,data=1,data-len=4`).
    static let variant: UInt32 = 0x100

    static func read(_ address: UInt32) -> UInt32 { arm_load(window &+ address) }
    static func write(_ value: UInt32, at address: UInt32) { arm_store(window &+ address, value) }

    /// Puts `svc #0` at the beginning of every frame.
    static func fillFrames() {
        var frame = frames.lowerBound
        while frame < frames.upperBound {
            write(0xef00_0000, at: frame)
            frame &+= 4096
        }
    }

    static func clear(_ address: UInt32, bytes: UInt32) {
        var offset: UInt32 = 0
        while offset < bytes {
            write(0, at: address &+ offset)
            offset &+= 4
        }
    }
}
