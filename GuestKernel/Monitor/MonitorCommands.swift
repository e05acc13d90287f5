// The commands of the kernel's monitor; docs/guest-contract.md has the table.

/// Every command writes its lines and answers nil, or what was wrong.
enum MonitorCommands {
    /// Runs one line. An empty one is answered with `ok`.
    static func run(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard let name = line.word() else { return nil }
        if line.matches(name, "help") { return help(&out) }
        if line.matches(name, "stage") {
            out.text("stage=")
            out.byte(Stage.current)
            out.newline()
            return nil
        }
        if line.matches(name, "areas") { return areas(&out) }
        if line.matches(name, "alloc") { return allocate(&line, &out) }
        if line.matches(name, "free") { return free(&line, &out) }
        if line.matches(name, "debug-alloc") { return debugAllocate(&line, &out) }
        if line.matches(name, "map") { return map(&line, &out) }
        if line.matches(name, "mmio") { return MonitorHeap.map(&line, &out) }
        if line.matches(name, "mmio-end") { return MonitorHeap.unmap(&line, &out) }
        if line.matches(name, "touch") { return touch(&line, &out) }
        if line.matches(name, "protect") { return protect(&line, &out) }
        if line.matches(name, "unmap") { return unmap(&line, &out) }
        if line.matches(name, "vmas") { return vmas(&out) }
        if line.matches(name, "server") { return MonitorTasks.server(&out) }
        if line.matches(name, "load") { return load(&line, &out) }
        if line.matches(name, "programs") {
            Programs.list(&out)
            return nil
        }
        if line.matches(name, "ps") {
            Programs.processes(&out)
            return nil
        }
        if line.matches(name, "bounds") { return MonitorBounds.show(&out) }
        if line.matches(name, "brk") { return MonitorBounds.setBreak(&line, &out) }
        if line.matches(name, "buffer") { return MonitorBuffers.allocate(&line, &out) }
        if line.matches(name, "buffer-free") { return MonitorBuffers.free(&line) }
        if line.matches(name, "buffer-fill") { return MonitorBuffers.fill(&line, &out) }
        if line.matches(name, "in") { return MonitorProcesses.inside(&line, &out) }
        if line.matches(name, "fork") { return MonitorProcesses.fork(&line, &out) }
        if line.matches(name, "kill") { return MonitorProcesses.kill(&line, &out) }
        if line.matches(name, "work") { return Workloads.run(&line, &out) }
        if line.matches(name, "cpus") { return cpus(&out) }
        if line.matches(name, "stats") { return stats(&out) }
        if line.matches(name, "panic") { panic() }
        if line.matches(name, "poweroff") { Kernel.powerOff() }
        if line.matches(name, "reboot") { Kernel.reset() }
        return "no such command; try help"
    }

    /// The error line of a command that memory was refused to. The answer "" says that it is written.
    static func refuse(_ error: MemoryError, _ out: inout TextWriter) -> StaticString {
        out.text("error: ")
        error.write(to: &out)
        out.newline()
        return ""
    }

    private static func help(_ out: inout TextWriter) -> StaticString? {
        out.text("command=help usage=help\n")
        out.text("command=stage usage=stage\n")
        out.text("command=areas usage=areas\n")
        out.text("command=alloc usage=alloc SIZE [main|page|mempool]\n")
        out.text("command=free usage=free VA\n")
        out.text("command=debug-alloc usage=debug-alloc SIZE\n")
        out.text("command=map usage=map SIZE [PERM] [at VA]\n")
        out.text("command=mmio usage=mmio PA SIZE\n")
        out.text("command=mmio-end usage=mmio-end VA\n")
        out.text("command=touch usage=touch VA [VALUE]\n")
        out.text("command=protect usage=protect VA SIZE PERM\n")
        out.text("command=unmap usage=unmap VA SIZE\n")
        out.text("command=vmas usage=vmas\n")
        out.text("command=server usage=server\n")
        out.text("command=load usage=load MODULE [NAMESPACE]\n")
        out.text("command=programs usage=programs\n")
        out.text("command=ps usage=ps\n")
        out.text("command=bounds usage=bounds\n")
        out.text("command=brk usage=brk [VA]\n")
        out.text("command=buffer usage=buffer SIZE\n")
        out.text("command=buffer-free usage=buffer-free VA\n")
        out.text("command=buffer-fill usage=buffer-fill VA SIZE VALUE\n")
        out.text("command=in usage=in PROGRAM COMMAND...\n")
        out.text("command=fork usage=fork PROGRAM\n")
        out.text("command=kill usage=kill PROGRAM [STATUS]\n")
        out.text("command=work usage=work heap|map|collide|fork SEED ROUNDS [PROGRAM]\n")
        out.text("command=cpus usage=cpus\n")
        out.text("command=stats usage=stats\n")
        out.text("command=panic usage=panic\n")
        out.text("command=poweroff usage=poweroff\n")
        out.text("command=reboot usage=reboot\n")
        return nil
    }

    // MARK: Areas

    private static func areas(_ out: inout TextWriter) -> StaticString? {
        if MappedHeap.isUsed {
            MonitorHeap.areas(&out)
            return nil
        }
        area(&out, .main)
        area(&out, .page)
        area(&out, .mempool)
        area(&out, .debug)
        if Plan.current.name == .resea { MonitorTasks.areas(&out) }
        return nil
    }

    private static func area(_ out: inout TextWriter, _ area: OSv.Area) {
        out.text("area=")
        out.text(name(area))
        out.text(" base=")
        out.hex(area.address)
        out.text(" allocated=")
        out.decimal(Malloc.allocated(in: area))
        out.newline()
    }

    private static func name(_ area: OSv.Area) -> StaticString {
        switch area {
        case .main: return "main"
        case .page: return "page"
        case .mempool: return "mempool"
        case .debug: return "debug"
        }
    }

    private static func allocate(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard let first = line.word(), let size = line.number(first) else {
            return "usage: alloc SIZE [main|page|mempool]"
        }
        var wanted: OSv.Area?
        if let word = line.word() {
            if line.matches(word, "main") {
                wanted = .main
            } else if line.matches(word, "page") {
                wanted = .page
            } else if line.matches(word, "mempool") {
                wanted = .mempool
            } else {
                return "area is main, page or mempool"
            }
        }
        guard line.word() == nil else { return "too many words" }
        do throws(MemoryError) {
            let block = try Malloc.allocate(size, area: wanted)
            let area = wanted ?? Malloc.area(for: size)
            out.text("va=")
            out.hex(block)
            out.text(" pa=")
            out.hex(Spaces.kernel.pointee.physical(of: block) ?? UInt64.max)
            out.text(" area=")
            out.text(MappedHeap.isUsed ? "heap" : name(area))
            out.text(" size=")
            out.decimal(size)
            out.newline()
            return nil
        } catch {
            return refuse(error, &out)
        }
    }

    private static func free(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard let first = line.word(), let address = line.number(first), line.word() == nil else {
            return "usage: free VA"
        }
        do throws(MemoryError) {
            try Malloc.free(address)
            Break.afterCommand(freed: address)
            return nil
        } catch {
            return refuse(error, &out)
        }
    }

    private static func debugAllocate(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard let first = line.word(), let size = line.number(first), line.word() == nil else {
            return "usage: debug-alloc SIZE"
        }
        do throws(MemoryError) {
            let block = try Memory.locked { () throws(MemoryError) in try DebugArea.allocate(size) }
            out.text("va=")
            out.hex(block.data)
            out.text(" pa=")
            out.hex(Spaces.kernel.pointee.physical(of: block.data) ?? UInt64.max)
            out.text(" header=")
            out.hex(block.header)
            out.text(" guard1=")
            out.hex(block.guard1)
            out.text(" guard2=")
            out.hex(block.guard2)
            out.text(" size=")
            out.decimal(block.size)
            out.newline()
            return nil
        } catch {
            return refuse(error, &out)
        }
    }

    // MARK: Mappings

    private static func map(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard let first = line.word(), let size = line.number(first) else { return "usage: map SIZE [PERM] [at VA]" }
        var protection: Protection = [.read, .write]
        var address: UInt64?
        var next = line.word()
        if let word = next, !line.matches(word, "at") {
            guard let wanted = line.protection(word) else { return "PERM is letters of rwx, or none" }
            protection = wanted
            next = line.word()
        }
        if let word = next {
            guard line.matches(word, "at"), let place = line.word(), let value = line.number(place) else {
                return "usage: map SIZE [PERM] [at VA]"
            }
            address = value
        }
        guard line.word() == nil else { return "too many words" }
        do throws(MemoryError) {
            let start = try AddressSpace.current.pointee.map(at: address, size: size, protection: protection)
            out.text("va=")
            out.hex(start)
            out.text(" size=")
            out.decimal((size &+ 4095) & ~4095)
            out.text(" perm=")
            protection.write(to: &out)
            out.newline()
            return nil
        } catch {
            return refuse(error, &out)
        }
    }

    private static func touch(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard let first = line.word(), let address = line.number(first) else { return "usage: touch VA [VALUE]" }
        var written: UInt64?
        if let word = line.word() {
            guard let value = line.number(word) else { return "usage: touch VA [VALUE]" }
            written = value
        }
        guard line.word() == nil else { return "too many words" }
        do throws(Probe.Fault) {
            let isLinear = address >= (MappedHeap.isUsed ? Plan.current.heapBase : OSv.areasBase)
            if isLinear && address &- Plan.current.mainBase &- Contract.holeEnd < 1 &<< 40
                && Break.at("ram-above-the-hole")
            {
                return "broken as asked"
            }
            if let written { try Probe.write(isLinear && Break.at("double-mapping") ? address &+ 8 : address, written) }
            let value = try Probe.read(address)
            out.text("va=")
            out.hex(address)
            out.text(" value=")
            out.hex(value)
            out.newline()
            return nil
        } catch {
            // The answer has numbers in it: written here, and nothing more to say.
            out.text("error: fault=")
            out.hex(address)
            out.text(" code=")
            out.hex(error.code)
            if error.vector != 14 {
                out.text(" vector=")
                out.decimal(error.vector)
            } else if let reason = AddressSpace.lastError {
                out.byte(0x20)
                reason.write(to: &out)
            }
            out.newline()
            return ""
        }
    }

    private static func protect(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard let first = line.word(), let address = line.number(first), let second = line.word(),
            let size = line.number(second), let third = line.word(), let protection = line.protection(third),
            line.word() == nil
        else { return "usage: protect VA SIZE PERM" }
        do throws(MemoryError) {
            try AddressSpace.current.pointee.protect(address, size: size, protection: protection)
            return nil
        } catch {
            return refuse(error, &out)
        }
    }

    private static func unmap(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard let first = line.word(), let address = line.number(first), let second = line.word(),
            let size = line.number(second), line.word() == nil
        else { return "usage: unmap VA SIZE" }
        do throws(MemoryError) {
            try AddressSpace.current.pointee.unmap(address, size: size)
            return nil
        } catch {
            return refuse(error, &out)
        }
    }

    private static func vmas(_ out: inout TextWriter) -> StaticString? {
        var index = 0
        while let vma = AddressSpace.current.pointee.vma(number: index) {
            out.text("vma=")
            out.hex(vma.start)
            out.text("-")
            out.hex(vma.end)
            out.text(" perm=")
            vma.protection.write(to: &out)
            out.text(" kind=")
            out.text(vma.kind.text)
            out.text(" owner=")
            out.decimal(signed: Int64(vma.program))
            out.newline()
            index &+= 1
        }
        return nil
    }

    // MARK: Programs and processors

    private static func load(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard let first = line.word(), let module = line.number(first) else { return "usage: load MODULE [NAMESPACE]" }
        var namespace: UInt64?
        if let word = line.word() {
            guard let value = line.number(word) else { return "usage: load MODULE [NAMESPACE]" }
            namespace = value
        }
        guard line.word() == nil else { return "too many words" }
        return Programs.load(module: module, namespace: namespace, &out)
    }

    private static func cpus(_ out: inout TextWriter) -> StaticString? {
        var number = 0
        while let cpu = Processor.at(number) {
            out.text("cpu=")
            out.decimal(UInt64(number))
            out.text(" apic=")
            out.decimal(UInt64(cpu.pointee.apic))
            out.text(load_acquire(&cpu.pointee.online) != 0 ? " state=online ticks=" : " state=offline ticks=")
            out.decimal(cpu.pointee.ticks)
            out.newline()
            number &+= 1
        }
        return nil
    }

    private static func stats(_ out: inout TextWriter) -> StaticString? {
        out.text("pages-free=")
        out.decimal(PhysicalPages.freePages)
        out.text(" pages-used=")
        out.decimal(PhysicalPages.totalPages &- PhysicalPages.freePages)
        out.text(" tables=")
        out.decimal(Arena.used)
        out.text(" tables-limit=")
        out.decimal(Arena.limit)
        out.text(" faults=")
        out.decimal(AddressSpace.faults)
        out.text(" ticks=")
        out.decimal(Timer.ticks)
        out.text(TickTimer.period == 0 ? " timer=pit" : " timer=apic")
        out.text(" shootdowns=")
        out.decimal(Shootdown.count)
        out.text(" switches=")
        out.decimal(Scheduler.switches)
        out.text(" root-loads=")
        out.decimal(Spaces.rootLoads)
        out.text(" root-changes=")
        out.decimal(Spaces.rootChanges)
        out.text(" root=")
        out.hex(Spaces.kernel.pointee.root)
        out.newline()
        return nil
    }

    private static func panic() -> Never {
        Console.printRegardless { $0.text("kernel panic: asked for by the monitor\n") }
        Kernel.halt(code: Kernel.PanicCode.asked)
    }
}
