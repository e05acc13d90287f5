// The numbers that the monitor and the guest kernel agree on; docs/guest-contract.md explains them.

/// Ports, addresses and magic numbers of the contract between monitor and guest.
public enum Contract {
    /// Signature a kernel reads from `signaturePort`, and finds in RSI at direct entry as `entryMagic`.
    public static let signature: UInt32 = 0x5254_4956
    /// RSI at direct entry.
    public static let entryMagic: UInt64 = 0x5649_5452
    /// The name in the ELF note that asks for direct entry.
    public static let noteOwner: StaticString = "Vitrine"
    /// The type of that note.
    public static let noteDirectEntry: UInt32 = 1
    /// XEN_ELFNOTE_PHYS32_ENTRY, the type of the note of owner "Xen" (xen/include/public/elfnote.h).
    public static let noteXenPhys32Entry: UInt32 = 18
    /// `hvm_start_info.magic` (xen/include/public/arch-x86/hvm/start_info.h).
    public static let startInfoMagic: UInt32 = 0x336e_c578

    /// The GDT at direct entry.
    public static let bootGDT: UInt64 = 0x500
    /// The page of the AP trampoline; SIPI vector 5.
    public static let trampoline: UInt64 = 0x5000
    /// The page of the APs' GDTR, and of their GDT behind it.
    public static let trampolineGDTR: UInt64 = 0x6000
    /// RSP at direct entry.
    public static let bootStack: UInt64 = 0x7ff0
    /// The start info; its memory map, module list and command line follow in the same 16 KiB.
    public static let startInfo: UInt64 = 0x9000
    /// One past the last byte the start info may use.
    public static let startInfoEnd: UInt64 = 0xd000
    /// The longest command line, without its NUL.
    public static let commandLineLimit = 2048
    /// RAM below 4 GiB ends here.
    public static let holeStart: UInt64 = 3 << 30
    /// RAM above the hole begins here.
    public static let holeEnd: UInt64 = 4 << 30

    /// COM1, the console.
    public static let consolePort: UInt16 = 0x3f8
    /// The interrupt of COM1.
    public static let consoleIRQ: UInt32 = 4
    /// COM2, the kernel's monitor.
    public static let monitorPort: UInt16 = 0x2f8
    /// The interrupt of COM2.
    public static let monitorIRQ: UInt32 = 3
    /// The 8254 timer, four ports.
    public static let timerPort: UInt16 = 0x40
    /// Speaker and gate of the timer's channel 2.
    public static let speakerPort: UInt16 = 0x61
    /// Keyboard controller: 0xfe resets.
    public static let keyboardPort: UInt16 = 0x64
    /// Reset control register: bit 2 resets.
    public static let resetPort: UInt16 = 0xcf9
    /// isa-debug-exit: any write powers off.
    public static let debugExitPort: UInt16 = 0x501
    /// PM1a_CNT: bit 13 (SLP_EN) powers off.
    public static let powerPort: UInt16 = 0x604
    /// Boot stages.
    public static let stagePort: UInt16 = 0x700
    /// The kernel's panic code.
    public static let panicPort: UInt16 = 0x704
    /// A program's end.
    public static let programPort: UInt16 = 0x708
    /// Reads `signature`.
    public static let signaturePort: UInt16 = 0x70c
    /// Requests to the guest, announced by `requestIRQ`.
    public static let requestPort: UInt16 = 0x710
    /// The interrupt (edge) that announces a request.
    public static let requestIRQ: UInt32 = 9
    /// Bit of `requestPort`: power off, please.
    public static let requestPowerOff: UInt8 = 1
}
