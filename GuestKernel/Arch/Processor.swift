// Processors: per-CPU state, descriptor tables, and the start of the others by INIT-SIPI.

/// The processors and what each has of its own.
enum Processor {
    typealias Pointer = UnsafeMutablePointer<cpu>

    /// xAPIC identifiers are 8 bits wide and 255 means all.
    static var capacity: Int { 255 }
    /// How many there are, started or not.
    nonisolated(unsafe) private(set) static var count = 0
    nonisolated(unsafe) private(set) static var onlineCount = 0
    nonisolated(unsafe) private static var list: UnsafeMutablePointer<Pointer?>?
    nonisolated(unsafe) private static var isReady = false

    /// Pages of a processor: its state, and the stacks of #DF (IST3) and NMI (IST4).
    private static var pages: UInt64 { 4 }

    /// This processor; nil before `startFirst`.
    @inline(__always) static var current: Pointer? { isReady ? this_cpu() : nil }

    /// Processor `number`.
    static func at(_ number: Int) -> Pointer? { number >= 0 && number < count ? list?[number] : nil }

    /// A moment with interrupts on, for a trap handler that takes long: it is on its thread's kernel stack and holds no lock.
    ///
    /// The read of a port is what lets them come: a host that emulates ring 0 looks for interrupts not between any two
    /// instructions but when the emulation ends, and that it does at a device outside KVM. A few instructions alone with
    /// interrupts on let none through there.
    static func takeInterrupts() {
        interrupts_on()
        _ = SerialPort.console.lineStatus
        interrupts_off()
    }

    /// Makes the state of all `wanted` processors and starts to use the first one's.
    static func startFirst(wanted: Int) throws(MemoryError) {
        count = wanted < 1 ? 1 : wanted > capacity ? capacity : wanted
        let table = try Malloc.allocate(UInt64(count &* 8), area: count <= 128 ? .mempool : .page)
        let pointers = UnsafeMutablePointer<Pointer?>(bitPattern: UInt(table)).unsafelyUnwrapped
        list = pointers
        var number = 0
        while number < count {
            pointers[number] = try make(number)
            number &+= 1
        }
        guard let first = pointers[0] else { return }
        prepare(first)
        first.pointee.online = 1
        onlineCount = 1
        isReady = true
    }

    /// Allocates a processor's pages and fills its descriptor tables.
    private static func make(_ number: Int) throws(MemoryError) -> Pointer {
        let base = try Malloc.allocate(pages &<< 12, area: .main)
        clear_words(base, UInt64(MemoryLayout<cpu>.size &+ 7) / 8)
        let pointer = Pointer(bitPattern: UInt(base)).unsafelyUnwrapped
        pointer.pointee.`self` = pointer
        pointer.pointee.number = UInt32(truncatingIfNeeded: number)
        pointer.pointee.apic = UInt32(truncatingIfNeeded: number)
        pointer.pointee.root = Spaces.kernel.pointee.root
        guard let gdt = cpu_gdt(pointer), let words = cpu_tss(pointer) else { return pointer }
        let tss = UInt64(UInt(bitPattern: words))
        let doubleFault = base &+ 3 &* 4096 &- 16
        let nmi = base &+ pages &* 4096 &- 16
        write_word(doubleFault, base)
        write_word(nmi, base)
        setStack(pointer, index: 9 + 4, doubleFault)
        setStack(pointer, index: 9 + 6, nmi)
        words[25] = 104 << 16  // no I/O permission map
        // SYSRET wants user data below user code (SDM volume 3, section 5.8.8).
        gdt[1] = 0x00af_9b00_0000_ffff
        gdt[2] = 0x00cf_9300_0000_ffff
        gdt[3] = 0
        gdt[4] = 0x00cf_f300_0000_ffff
        gdt[5] = 0x00af_fb00_0000_ffff
        gdt[6] = 103 | (tss & 0xff_ffff) &<< 16 | 0x89 &<< 40 | (tss &>> 24 & 0xff) &<< 56
        gdt[7] = tss &>> 32
        return pointer
    }

    /// Writes a 64-bit stack pointer at a word index of the TSS (SDM volume 3, figure 8-11).
    @inline(__always) private static func setStack(_ pointer: Pointer, index: Int, _ value: UInt64) {
        guard let words = cpu_tss(pointer) else { return }
        words[index] = UInt32(truncatingIfNeeded: value)
        words[index &+ 1] = UInt32(truncatingIfNeeded: value &>> 32)
    }

    /// Points RSP0, IST1 and IST2 at a thread's stacks.
    static func useStacks(_ pointer: Pointer, of thread: Thread.Pointer) {
        let tss = UInt64(UInt(bitPattern: cpu_tss(pointer)))
        write_word(tss &+ 4, thread.pointee.kernel_stack)
        write_word(tss &+ 36, thread.pointee.interrupt_stack)
        write_word(tss &+ 44, thread.pointee.exception_stack)
    }

    /// Loads the tables of the processor this runs on.
    private static func prepare(_ pointer: Pointer) {
        load_gdt(cpu_gdt(pointer), 63)
        reload_segments()
        let address = UInt64(UInt(bitPattern: pointer))
        write_msr(0xc000_0101, address)  // GS base
        write_msr(0xc000_0102, address)  // kernel GS base: what swapgs finds in syscall_entry
        load_task_register(0x30)
        InterruptTable.load()
        write_cr4(read_cr4() | 0x600)  // OSFXSR, OSXMMEXCPT: ring 3 may use SSE
        // Direct entry leaves EFER.SCE clear: the syscall instruction would be #UD.
        write_msr(0xc000_0080, read_msr(0xc000_0080) | 1)
        write_msr(0xc000_0081, 0x18 &<< 48 | 0x08 &<< 32)  // STAR
        write_msr(0xc000_0082, SystemCall.entry)  // LSTAR
        write_msr(0xc000_0084, 0x4_7700)  // SFMASK: AC, NT, IOPL, DF, IF, TF
        LocalAPIC.enable(extINT: pointer.pointee.number == 0)
    }

    // MARK: The others

    /// Starts every other processor and waits until each runs, or does not come.
    static func startOthers() {
        guard count > 1 || Plan.current.name == .resea else { return }
        prepareTrampoline()
        var number = 1
        while number < count {
            if let pointer = at(number), let idle = pointer.pointee.idle {
                set_ap_boot(Spaces.kernel.pointee.root, idle.pointee.kernel_stack, pointer)
                LocalAPIC.startProcessor(pointer.pointee.apic, page: UInt8(Contract.trampoline >> 12))
                if waitUntilOnline(pointer) {
                    onlineCount &+= 1
                } else {
                    Console.print {
                        $0.text("cpu ")
                        $0.decimal(UInt64(number))
                        $0.text(" did not start\n")
                    }
                }
            }
            number &+= 1
        }
    }

    /// The APs' boot code, their GDTR in the page behind it, and their GDT behind that. Nobody has loaded from it yet: the
    /// accessed bits of its descriptors are clear.
    private static func prepareTrampoline() {
        let from = trampoline_start()
        if !Break.at("ap-boot-code") {
            copy_words(
                PageTable.linear(Contract.trampoline), PageTable.linear(from), (trampoline_end() &- from &+ 7) / 8)
        }
        let page = PageTable.linear(Contract.trampolineGDTR)
        let limit: UInt64 = Break.at("ap-gdtr") ? 23 : 31
        write_word(page, limit | (Contract.trampolineGDTR &+ 8) &<< 16)
        write_word(page &+ 8, 0)
        write_word(page &+ 16, 0x00af_9a00_0000_ffff)  // 0x08: 64-bit code
        write_word(page &+ 24, 0x00cf_9200_0000_ffff)  // 0x10: data
        write_word(page &+ 32, 0x00cf_9a00_0000_ffff)  // 0x18: 32-bit code
    }

    /// Waits up to two seconds by the timer's ticks; interrupts are on.
    private static func waitUntilOnline(_ pointer: Pointer) -> Bool {
        let deadline = Timer.ticks &+ 2 &* Timer.rate
        while load_acquire(&pointer.pointee.online) == 0 {
            if Timer.ticks > deadline { return false }
            pause_hint()
        }
        return true
    }

    /// Where an AP arrives, on its idle thread's stack, with the runtime tables.
    static func enter(_ pointer: Pointer) -> Never {
        prepare(pointer)
        Scheduler.becomeIdle(pointer)
        TickTimer.startHere()
        store_release(&pointer.pointee.online, 1)
        Scheduler.idle()
    }
}

/// Called by ap_entry64.
@c(ap_main) public func apMain(_ address: UInt64) {
    if let pointer = Processor.Pointer(bitPattern: UInt(address)) { Processor.enter(pointer) }
}
