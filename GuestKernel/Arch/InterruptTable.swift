// The IDT: 256 gates to the stubs of traps.S.

/// One table for all processors.
enum InterruptTable {
    nonisolated(unsafe) private static var table: UInt64 = 0

    /// What a vector uses: stack 1 interrupts, 2 exceptions, 3 #DF, 4 NMI and machine check. IST1 and IST2 belong to
    /// the running thread, so that a program's red zone survives and a frame can wait there while others run.
    private enum Stack {
        static var interrupt: UInt64 { 1 }
        static var exception: UInt64 { 2 }
        static var doubleFault: UInt64 { 3 }
        static var urgent: UInt64 { 4 }
    }

    /// An interrupt gate, present; the second one may be used by ring 3.
    private static var closed: UInt64 { 0x8e00 }
    private static var open: UInt64 { 0xee00 }

    /// Fills the gates (SDM volume 3, figure 6-8).
    static func make() throws(MemoryError) {
        // course_os has its vectors at PA 0.
        let isAtZero = Plan.current.name == .courseos && !Break.at("now-vectors")
        table = isAtZero ? PageTable.linear(0) : try Malloc.allocate(4096, area: .page)
        fill(from: 0, to: 32, Stack.exception)
        fill(from: 32, to: 256, Stack.interrupt)
        write_word(table &+ 16 &* 2, gate(2, Stack.urgent, closed))
        write_word(table &+ 16 &* 18, gate(18, Stack.urgent, closed))
        write_word(table &+ 16 &* 8, gate(8, Stack.doubleFault, closed))
        // int3 and into.
        write_word(table &+ 16 &* 3, gate(3, Stack.exception, open))
        write_word(table &+ 16 &* 4, gate(4, Stack.exception, open))
    }

    /// The first half of a vector's gate; the second is the upper half of its handler's address.
    private static func gate(_ vector: UInt64, _ stack: UInt64, _ type: UInt64) -> UInt64 {
        let handler = address_of_trap_stubs() &+ 16 &* vector
        return handler & 0xffff | 8 &<< 16 | (stack | type) &<< 32 | (handler &>> 16 & 0xffff) &<< 48
    }

    /// The stubs lie 16 bytes apart in a page of their own, so that only the lowest bits of their addresses differ.
    private static func fill(from first: UInt64, to last: UInt64, _ stack: UInt64) {
        var word = gate(first, stack, closed)
        let upper = address_of_trap_stubs() &>> 32
        var slot = table &+ 16 &* first
        let end = table &+ 16 &* last
        while slot != end {
            write_word(slot, word)
            write_word(slot &+ 8, upper)
            word &+= 16
            slot &+= 16
        }
    }

    static func load() {
        load_idt(UnsafeRawPointer(bitPattern: UInt(table)), 4095)
    }
}
