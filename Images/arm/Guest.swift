// The ARM guest: builds tables, turns them on, and says on its UART what its processor makes of them.
//
//     vitrine-arm VARIANT SCTLR TTBCR TTBR0 TTBR1 DACR ID_MMFR0
//     VA PAR PAR PAR PAR X U        ATS1CPR, CPW, CUR, CUW; whether PL1 and PL0 could run what is there ('-': not tried)
//     READY

/// The serial port (PL011).
struct UART {
    let address: UInt32

    func put(_ byte: UInt8) { arm_store(address, UInt32(byte)) }
    func text(_ text: StaticString) {
        for index in 0..<text.utf8CodeUnitCount { put((text.utf8Start + index).pointee) }
    }
    func hex(_ value: UInt32) {
        var shift: UInt32 = 32
        while shift > 0 {
            shift &-= 4
            let digit = UInt8(truncatingIfNeeded: value >> shift & 15)
            put(digit < 10 ? 48 &+ digit : 87 &+ digit)
        }
    }
}

/// Where the board has its PL011: a Cortex-A7 (MIDR 15:4) is taken for a Raspberry Pi 2, others for a Versatile/PB.
private func serialPort() -> UInt32 { arm_register(6) >> 4 & 0xfff == 0xc07 ? 0x3f20_1000 : 0x101f_1000 }

@_cdecl("guest_main") func guestMain() {
    let port = serialPort()
    let variant = Variant(rawValue: Physical.read(Physical.variant)) ?? .short
    Physical.fillFrames()
    build(variant, uart: port)
    let uart = UART(address: 0xfff0_0000 | port & 0xf_ffff)
    uart.text("vitrine-arm ")
    uart.hex(variant.rawValue)
    for which in 0..<6 as Range<UInt32> {
        uart.put(32)
        uart.hex(arm_register(which))
    }
    uart.put(10)
    switch variant {
    case .short:
        report(0x3ff0_0000, 0x7020_0000, uart)
    case .split:
        report(0x0000_0000, 0x0020_0000, uart)
        report(0x3ef0_0000, 0x7020_0000, uart)
    case .courseos:
        report(0x0000_0000, 0x0050_0000, uart)
        report(0x7ff0_0000, 0x8000_8000, uart)
        report(0xbff0_0000, 0xc030_0000, uart)
    }
    uart.text("READY\n")
}

/// Asks about every MiB of a range and, where second-level tables are, every page.
private func report(_ first: UInt32, _ end: UInt32, _ uart: UART) {
    let ttbcr = arm_register(1)
    var va = first
    while va < end {
        let root = ttbcr == 0 || va >> (32 &- ttbcr) == 0 ? arm_register(2) : arm_register(3)
        let descriptor = Physical.read(root &+ va >> 20 &* 4)
        if descriptor & 3 == 1 {
            for page in 0..<256 as Range<UInt32> { line(va &+ page << 12, uart) }
        } else {
            line(va, uart)
            line(va &+ 0xf_f000, uart)
        }
        va &+= 1 << 20
    }
}

private func line(_ va: UInt32, _ uart: UART) {
    uart.hex(va)
    var tries = true
    for which in 0..<4 as Range<UInt32> {
        let par = arm_translate(va, which)
        uart.put(32)
        uart.hex(par)
        // Only what is sure to hold an `svc` is run; PAR's SS bit says that the address is another.
        if par & 1 == 0 && (par & 2 != 0 || !Physical.frames.contains(par & 0xffff_f000)) { tries = false }
    }
    for user in 0..<2 as Range<UInt32> {
        uart.put(32)
        uart.put(tries ? 48 &+ UInt8(truncatingIfNeeded: arm_fetch(va, user)) : 45)
    }
    uart.put(10)
}
