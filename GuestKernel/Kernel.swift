// The kernel's start, from the first instruction in Swift to "ready", and its ends.

/// Stages reported to the monitor on Contract.stagePort.
enum Stage {
    nonisolated(unsafe) private(set) static var current: UInt8 = 0

    static func report(_ letter: UInt8) {
        current = letter
        out8(Contract.stagePort, letter)
    }
}

/// The kernel as a whole.
enum Kernel {
    /// The physical end of what is kept for the image, a multiple of the layout's `endAlignment`.
    nonisolated(unsafe) private(set) static var end: UInt64 = 0

    /// Panic codes beyond the exceptions' vectors.
    enum PanicCode {
        static var asked: UInt32 { 0x100 }
        static var boot: UInt32 { 0x101 }
        static var stack: UInt32 { 0x102 }
    }

    /// From entry to the idle loop. `startInfo` is physical.
    static func start(_ startInfo: UInt64) -> Never {
        let isRight = Plan.choose()
        var map = MemoryMap()
        let isRead = StartInfo.read(startInfo, into: &map)
        Break.start()
        Break.aroundStage("a") { Stage.report(0x41) }  // A
        SerialPort.console.start()
        SerialPort.monitor.start()
        Layouts.buildTemporaryTables()
        PageTable.linearBase = Plan.current.linearBase
        Break.sameRoot()
        Break.aroundStage("b") { Stage.report(0x42) }  // B
        Break.bootRoot()
        guard isRead, isRight else { fail(isRead ? .wrongImage : .noMemoryMap) }
        do throws(MemoryError) {
            map.limit(to: Plan.current.memoryLimit)
            try startMemory(map)
            Break.aroundStage("c") { Stage.report(0x43) }  // C
            try startProcessors()
        } catch {
            fail(error)
        }
        Break.mapMore()
        greet(map)
        interrupts_on()
        Processor.startOthers()
        do throws(MemoryError) {
            try MonitorServer.start()
        } catch {
            fail(error)
        }
        Scheduler.idle()
    }

    private static func startMemory(_ map: borrowing MemoryMap) throws(MemoryError) {
        let last = address_of_kernel_end() &- Plan.current.imageOffset
        let alignment = Plan.current.endAlignment
        end = (last &+ alignment &- 1) & ~(alignment &- 1)
        Arena.start(memory: map.total)
        guard map[map.count &- 1].end > Arena.end else { throw .outOfMemory }
        var index = 0
        while index < map.count {
            PhysicalPages.add(map[index])
            index &+= 1
        }
        PhysicalPages.reserve(0, Break.at("memory-manager") ? 0x9_0000 : end)
        PhysicalPages.reserve(Arena.start, Arena.end)
        index = 0
        while let module = StartInfo.module(index) {
            PhysicalPages.reserve(module.address, module.address &+ module.size)
            index &+= 1
        }
        Spaces.start(root: try Layouts.buildRuntimeTables(memory: map, kernelEnd: end))
        try PhysicalPages.start(top: map[map.count &- 1].end)
        try Layouts.finishTables()
        let bits = cpuid_eax(0x8000_0000) >= 0x8000_0008 ? cpuid_eax(0x8000_0008) & 0xff : 36
        Protection.usesReservedBit = bits <= 51
    }

    private static func startProcessors() throws(MemoryError) {
        try Layouts.mapDevices()
        try InterruptTable.make()
        try Processor.startFirst(wanted: Int(CommandLine.number("cpus=") ?? 1))
        try Scheduler.prepare()
        InterruptController.start()
        Timer.start()
    }

    private static func greet(_ map: borrowing MemoryMap) {
        Console.print {
            $0.text("vitrine: ")
            $0.text(Plan.current.text)
            $0.text(" layout, ")
            $0.decimal(map.total >> 20)
            $0.text(" MiB, ")
            $0.decimal(UInt64(Processor.count))
            $0.text(in32(Contract.signaturePort) == Contract.signature ? " cpus\n" : " cpus, another monitor\n")
        }
    }

    // MARK: Ends

    /// The end of a start that cannot go on.
    private static func fail(_ error: MemoryError) -> Never {
        Console.printRegardless {
            $0.text("cannot start: ")
            error.write(to: &$0)
            $0.newline()
        }
        halt(code: PanicCode.boot)
    }

    /// Stops every processor after a panic whose report is printed.
    static func halt(code: UInt32) -> Never {
        interrupts_off()
        if Processor.onlineCount > 1 { LocalAPIC.sendToOthers(vector: Vector.stop) }
        out32(Contract.panicPort, code)
        while true { wait_for_ever() }
    }

    /// Powers off: the way of this monitor, of QEMU's debug exit, and a reset where neither works.
    static func powerOff() -> Never {
        Console.line("power off")
        Programs.stopAll()
        interrupts_off()
        out16(Contract.powerPort, 0x2000)
        out8(Contract.debugExitPort, 0)
        reset()
    }

    /// Starts again.
    static func reset() -> Never {
        interrupts_off()
        out8(Contract.keyboardPort, 0xfe)
        out8(Contract.resetPort, 6)
        while true { wait_for_ever() }
    }
}

/// Called by entry64.
@c(kernel_main) public func kernelMain(_ startInfo: UInt64) { Kernel.start(startInfo) }

/// Called by posix_memalign: blocks of a size class are aligned to their size.
@c(kernel_allocate) public func kernelAllocate(_ size: UInt64, _ alignment: UInt64) -> UInt64 {
    guard alignment <= 4096 else { return 0 }
    do throws(MemoryError) {
        return try Malloc.allocate(size < alignment ? alignment : size)
    } catch {
        return 0
    }
}

/// Called by free.
@c(kernel_free) public func kernelFree(_ block: UInt64) {
    do throws(MemoryError) { try Malloc.free(block) } catch { return }
}

/// Called by __stack_chk_fail.
@c(kernel_stack_smashed) public func kernelStackSmashed() {
    Console.printRegardless { $0.text("kernel fault: a function's stack frame was overwritten\n") }
    Kernel.halt(code: Kernel.PanicCode.stack)
}
