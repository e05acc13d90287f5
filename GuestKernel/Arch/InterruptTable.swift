// The IDT: 256 gates to the stubs of traps.S.

/// One table for all processors.
enum InterruptTable {
    nonisolated(unsafe) private static var table: UInt64 = 0

    /// Which stack a vector uses: 1 interrupts, 2 exceptions, 3 #DF, 4 NMI and machine check. IST1 and IST2 belong to
    /// the running thread, so that a program's red zone survives and a frame can wait there while others run.
    private static func stack(of vector: UInt64) -> UInt64 {
        switch vector {
        case 2, 18: return 4
        case 8: return 3
        default: return vector < 32 ? 2 : 1
        }
    }

    /// Fills the gates (SDM volume 3, figure 6-8).
    static func make() throws(MemoryError) {
        // course_os has its vectors at PA 0.
        let isAtZero = Plan.current.name == .courseos && !Break.at("now-vectors")
        table = isAtZero ? PageTable.linear(0) : try Malloc.allocate(4096, area: .page)
        var handler = address_of_trap_stubs()
        var vector: UInt64 = 0
        var gate = table
        while vector < 256 {
            // Interrupt gate, present; int3 and into may be used by ring 3.
            let type: UInt64 = vector == 3 || vector == 4 ? 0xee00 : 0x8e00
            write_word(
                gate,
                handler & 0xffff | 8 &<< 16 | stack(of: vector) &<< 32 | type &<< 32 | (handler &>> 16 & 0xffff) &<< 48)
            write_word(gate &+ 8, handler &>> 32)
            handler &+= 16
            gate &+= 16
            vector &+= 1
        }
    }

    static func load() {
        load_idt(UnsafeRawPointer(bitPattern: UInt(table)), 4095)
    }
}
