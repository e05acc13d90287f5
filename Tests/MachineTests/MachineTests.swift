// Whole machines on /dev/kvm, with guests of a few instructions.

import Addresses
import GuestMemory
import KVM
import Layouts
import Machine
import SystemCalls
import Testing

/// A machine with its events; ends with its owner.
final class RunningMachine {
    let machine: Machine
    let recorder = Recorder()
    private let file: TemporaryFile

    init(
        _ kernel: TestKernel, memory: UInt64 = 64 << 20, vcpus: Int = 1, programs: [String] = [],
        commandLine: String = "", stopAt: Stage? = nil, start: Bool = true
    ) throws {
        file = try kernel.file()
        machine = try Machine(
            MachineConfiguration(
                memory: memory, vcpus: vcpus, kernel: file.path, programs: programs, commandLine: commandLine,
                stopAt: stopAt),
            system: KVMSystem(), events: recorder.handler)
        if start { try machine.start() }
    }

    convenience init(_ build: (inout Code) -> Void) throws { try self.init(TestKernel(Code(build).bytes)) }

    deinit { machine.terminate() }

    /// 32 bits of guest memory.
    func word(_ address: UInt64) -> UInt32? {
        machine.ram.page(at: GPA(address))?.loadUnaligned(
            fromByteOffset: Int(address & 4095), as: UInt32.self)
    }

    /// Waits until a word of guest memory has a value.
    func waitForWord(_ address: UInt64, _ accept: (UInt32) -> Bool) -> Bool {
        let clock = Guarded(())
        for _ in 0..<2000 {
            if let value = word(address), accept(value) { return true }
            _ = clock.wait(nanoseconds: 5_000_000) { _ in nil as Bool? }
        }
        return false
    }
}

@Suite(.enabled(if: hasKVM, "needs /dev/kvm")) struct MachineTests {
    @Test func stagesInOrderThenPowerOff() throws {
        let guest = try RunningMachine {
            for stage in "ABCR" { $0.stage(stage) }
            $0.print("done")
            $0.powerOff()
        }
        #expect(guest.recorder.first(\.isShutdown) == true)
        #expect(guest.recorder.events.compactMap(\.stageReport?.stage) == [.A, .B, .C, .ready])
        #expect(guest.machine.state == .shutdown)
        #expect(guest.machine.stage == .ready)
        #expect(guest.machine.console.takeOutput() == Array("done".utf8))
        #expect(guest.machine.counters == MachineCounters())
        let counts = guest.recorder.events.compactMap(\.stageReport?.instructions)
        #expect(counts == counts.sorted())
    }

    @Test func stagesOutOfOrderAreCountedAndIgnored() throws {
        let guest = try RunningMachine {
            for stage in "RBAACxBR" { $0.stage(stage) }
            $0.out32(Contract.stagePort, 0x4142_4344)
            $0.powerOff()
        }
        #expect(guest.recorder.first(\.isShutdown) == true)
        #expect(guest.recorder.events.compactMap(\.stageReport?.stage) == [.A, .B])
        #expect(guest.machine.counters.protocolErrors == 7)
    }

    @Test func stopAtAStageHoldsTheGuestThere() throws {
        let kernel = TestKernel(
            Code {
                $0.stage("A")
                $0.stage("B")
                $0.powerOff()
            }.bytes)
        let guest = try RunningMachine(kernel, stopAt: .A)
        #expect(guest.recorder.first(\.stop) == .A)
        guest.machine.pause()
        #expect(guest.machine.state == .paused)
        #expect(guest.machine.stage == .A)
        // Three instructions of 4, 2 and 1 bytes have run.
        #expect(try guest.machine.registers(vcpu: 0).rip == TestKernel.base + 7)
        let snapshot = try #require(guest.machine.snapshot(of: .A))
        #expect(snapshot.cr3 == TestKernel.pml4)
        #expect(snapshot.pages.map(\.address) == [GPA(0x20_1000), GPA(0x20_2000), GPA(0x20_3000)])
        #expect(snapshot.pages.allSatisfy { $0.bytes.count == 4096 })
        #expect(snapshot.pages[0].bytes.prefix(4) == [0x67, 0x20, 0x20, 0])
        #expect(!snapshot.truncated)
        guest.machine.resume()
        #expect(guest.recorder.first(\.isShutdown) == true)
        #expect(guest.machine.snapshot(of: .ready) == nil)
    }

    @Test func stopAtEntry() throws {
        let kernel = TestKernel(Code { $0.powerOff() }.bytes)
        let guest = try RunningMachine(kernel, stopAt: .entry)
        #expect(guest.recorder.first(\.stop) == .entry)
        #expect(guest.machine.state == .prelaunch)
        let r = try guest.machine.registers(vcpu: 0)
        #expect(r.rip == TestKernel.base)
        #expect(r.rdi == Contract.startInfo && r.rbx == Contract.startInfo && r.rsi == Contract.entryMagic)
        #expect(r.rsp == Contract.bootStack && r.rflags == 2)
        #expect(r.cr0 == 0x8001_0033 && r.cr3 == TestKernel.pml4 && r.cr4 == 0x20 && r.efer == 0xd00)
        #expect(r.cs.selector == 8 && r.cs.long && r.ss.selector == 0x10)
        #expect(r.gdt.base == Contract.bootGDT && r.idt.limit == 0)
        #expect((32...52).contains(r.maxPhysicalAddressBits))
        guest.machine.resume()
        #expect(guest.recorder.first(\.isShutdown) == true)
    }

    @Test func pvhEntersInProtectedModeWithoutPaging() throws {
        // mov [data], ebx; power off: the same bytes in 32-bit mode, but for the address, which is plain there.
        var kernel = TestKernel(
            Code {
                $0.raw(0x89, 0x1d, 0x00, 0x40, 0x20, 0x00)
                $0.powerOff()
            }.bytes)
        kernel.segments[1] = TestKernel.note(owner: "Xen", type: 18, [TestKernel.base])
        let guest = try RunningMachine(kernel, stopAt: .entry)
        let r = try guest.machine.registers(vcpu: 0)
        #expect(r.cr0 == 0x11 && r.cr4 == 0 && r.efer == 0 && !r.cs.long && r.cs.big)
        #expect(r.rip == TestKernel.base && r.rbx == Contract.startInfo && r.rflags == 2)
        guest.machine.resume()
        #expect(guest.recorder.first(\.isShutdown) == true)
        #expect(guest.word(TestKernel.data) == UInt32(Contract.startInfo))
    }

    @Test func theStartInfoIsWhereTheContractSays() throws {
        let program = try TemporaryFile(Array("a program".utf8), name: "hello.elf")
        let other = try TemporaryFile(Array(repeating: 7, count: 5000), name: "other")
        let guest = try RunningMachine(
            TestKernel([0xf4]), memory: 6 << 30, vcpus: 2, programs: [program.path, other.path],
            commandLine: "ring=3", start: false)
        let ram = guest.machine.ram
        func long(_ address: UInt64) -> UInt64 {
            var value: UInt64 = 0
            _ = withUnsafeMutableBytes(of: &value) { ram.read(GPA(address), into: $0) }
            return value
        }
        func text(_ address: UInt64) -> String {
            var bytes = [UInt8](repeating: 0, count: 64)
            _ = bytes.withUnsafeMutableBytes { ram.read(GPA(address), into: $0) }
            return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        let info = Contract.startInfo
        #expect(guest.word(info) == Contract.startInfoMagic)
        #expect(guest.word(info + 4) == 1)
        #expect(guest.word(info + 12) == 2)
        #expect(text(long(info + 24)) == "layout=osv cpus=2 ring=3")
        #expect(guest.word(info + 48) == 2)
        let map = long(info + 40)
        #expect(long(map) == 0 && long(map + 8) == 3 << 30)
        #expect(long(map + 24) == 4 << 30 && long(map + 32) == 3 << 30)
        let modules = long(info + 16)
        #expect(long(modules + 8) == 9 && text(long(modules + 16)) == "hello.elf")
        #expect(text(long(modules)) == "a program")
        #expect(long(modules) & 4095 == 0)
        #expect(long(modules + 32) + 8192 == 3 << 30 && long(modules + 40) == 5000)
        #expect(text(long(modules + 48)) == "other")
    }

    @Test func unbackedAddressesAndPortsReadOnes() throws {
        let guest = try RunningMachine {
            $0.loadEAX(0x2000_0000)
            $0.storeEAX(UInt32(TestKernel.data))
            $0.storeEAX(0x2000_0000)
            $0.in32(0x1234)
            $0.storeEAX(UInt32(TestKernel.data) + 4)
            $0.in32(Contract.signaturePort)
            $0.storeEAX(UInt32(TestKernel.data) + 8)
            $0.out32(0xcf8, 0x8000_ff00)
            $0.powerOff()
        }
        #expect(guest.recorder.first(\.isShutdown) == true)
        #expect(guest.word(TestKernel.data) == 0xffff_ffff)
        #expect(guest.word(TestKernel.data + 4) == 0xffff_ffff)
        #expect(guest.word(TestKernel.data + 8) == Contract.signature)
        let counters = guest.machine.counters
        #expect(counters.unbackedReads == 1 && counters.unbackedWrites == 1)
        #expect(counters.unknownPortReads == 1 && counters.unknownPortWrites == 1)
    }

    @Test func aStormOfPortsIsCounted() throws {
        let guest = try RunningMachine {
            $0.movECX(20_000)
            // mov dx, 0x1000; 1: out dx, al; dec ecx; jnz 1b
            $0.raw(0x66, 0xba, 0x00, 0x10, 0xee, 0xff, 0xc9, 0x75, 0xfb)
            $0.powerOff()
        }
        #expect(guest.recorder.first(\.isShutdown) == true)
        #expect(guest.machine.counters.unknownPortWrites == 20_000)
    }

    @Test func stringsGoToTheConsole() throws {
        let text = (0..<3000).map { UInt8(32 + $0 % 90) }
        var kernel = TestKernel(
            Code {
                // mov esi, data; mov dx, 0x3f8; mov ecx, 3000; cld; rep outsb
                $0.raw(0xbe, 0x00, 0x40, 0x20, 0x00, 0x66, 0xba, 0xf8, 0x03)
                $0.movECX(3000)
                $0.raw(0xfc, 0xf3, 0x6e)
                $0.powerOff()
            }.bytes)
        kernel.segments[0].bytes += text
        let guest = try RunningMachine(kernel)
        #expect(guest.recorder.first(\.isShutdown) == true)
        #expect(guest.machine.console.takeOutput() == text)
    }

    @Test func panicsAndProgramsAreReported() throws {
        let guest = try RunningMachine {
            $0.out32(Contract.programPort, 0x0200_0007)
            $0.out32(Contract.programPort, 0x03ff_ffff)
            $0.out32(Contract.panicPort, 0xdead)
            $0.powerOff()
        }
        let code = guest.recorder.first { event -> UInt32? in
            if case .panicked(let code) = event { code } else { nil }
        }
        #expect(code == 0xdead)
        #expect(guest.machine.state == .panicked)
        let ends = guest.recorder.events.compactMap { event -> String? in
            if case .programEnded(let number, let status) = event { "\(number) \(status)" } else { nil }
        }
        #expect(ends == ["2 7", "3 -1"])
        // A dead guest does not go on, but can be looked at.
        guest.machine.resume()
        #expect(guest.machine.state == .panicked)
        #expect(try guest.machine.registers(vcpu: 0).rip > TestKernel.base)
    }

    @Test func aTripleFaultIsReportedInFull() throws {
        // mov rax, 0x123456789000; jmp rax
        let guest = try RunningMachine {
            $0.raw(0x48, 0xb8, 0x00, 0x90, 0x78, 0x56, 0x34, 0x12, 0, 0, 0xff, 0xe0)
        }
        let report = try #require(guest.recorder.first(\.tripleFault))
        #expect(guest.machine.state == .crashed)
        #expect(report.summary.contains("triple fault"))
        #expect(report.lines.allSatisfy { $0.utf8.count <= 120 })
        let text = report.lines.joined(separator: "\n")
        // Where the processor keeps its state, the walk says where it ended.
        if !text.contains("AMD-V") {
            #expect(text.contains("rip 0000123456789000"))
            #expect(text.contains("walk of RIP 0x123456789000:\n  level 4 at 0x201120: 0x0\n  not mapped at level 4"))
            #expect(text.contains("walk of CR2 0x123456789000:"))
        }
    }

    @Test func theLastCodeBytesAreShown() throws {
        // nop; ud2
        let guest = try RunningMachine { $0.raw(0x90, 0x0f, 0x0b) }
        let report = try #require(guest.recorder.first(\.tripleFault))
        let text = report.lines.joined(separator: "\n")
        #expect(text.contains("AMD-V") || text.contains("90 > 0f 0b"))
    }

    @Test func aGuestThatHaltsForGoodIsFound() throws {
        let guest = try RunningMachine { $0.haltForever() }
        #expect(guest.recorder.first(\.isHalt) == true)
        // cli and hlt have run.
        #expect(try guest.machine.registers(vcpu: 0).rip == TestKernel.base + 2)
    }

    @Test func pauseStopsAndResumeGoesOn() throws {
        // 1: inc dword [data]; jmp 1b
        let guest = try RunningMachine {
            $0.raw(0xff, 0x04, 0x25, 0x00, 0x40, 0x20, 0x00, 0xeb, 0xf7)
        }
        #expect(guest.waitForWord(TestKernel.data) { $0 > 0 })
        for _ in 0..<20 {
            guest.machine.pause()
            #expect(guest.machine.state == .paused)
            let value = try #require(guest.word(TestKernel.data))
            let r = try guest.machine.registers(vcpu: 0)
            #expect(r.rip == TestKernel.base || r.rip == TestKernel.base + 7)
            #expect(guest.word(TestKernel.data) == value)
            guest.machine.resume()
            #expect(guest.waitForWord(TestKernel.data) { $0 > value })
        }
        // Registers of a running vCPU.
        for _ in 0..<20 { #expect(try guest.machine.registers(vcpu: 0).cr3 == TestKernel.pml4) }
        #expect(guest.machine.state == .running)
        #expect(guest.machine.threadIDs.count == 1 && guest.machine.threadIDs[0] > 0)
        #expect(try guest.machine.translate(GVA(TestKernel.data + 5), vcpu: 0)?.gpa == TestKernel.data + 5)
        #expect(try guest.machine.translate(GVA(0xffff_8000_0000_0000), vcpu: 0) == nil)
        #expect(throws: MachineError.self) { _ = try guest.machine.registers(vcpu: 1) }
        #expect(throws: MachineError.self) { _ = try guest.machine.registers(vcpu: -1) }
        #expect(try guest.machine.statistics(vcpu: 0).contains { $0.name == "blocking" })
        #expect(try !guest.machine.statistics(vcpu: nil).isEmpty)
    }

    @Test func resetStartsFromTheFirstInstruction() throws {
        // The first life leaves marks and asks for a reset by the keyboard controller; the second finds none.
        let guest = try RunningMachine {
            $0.loadEAX(0x100_0000)
            $0.storeEAX(UInt32(TestKernel.data))
            $0.stage("A")
            $0.raw(0xb8, 1, 0, 0, 0)
            $0.storeEAX(0x100_0000)
            $0.out8(Contract.keyboardPort, 0xfe)
            $0.loop()
        }
        for _ in 0..<3 {
            #expect(guest.recorder.first(\.isReset) == true)
            #expect(guest.waitForWord(0x100_0000) { $0 == 1 })
            #expect(guest.word(TestKernel.data) == 0)
            guest.machine.pause()
            #expect(guest.machine.stage == .A)
            try guest.machine.reset()
        }
        let resets = guest.recorder.first { event -> Bool? in event.isReset }
        #expect(resets == true)
    }

    @Test func resetOfAPausedGuestStaysPaused() throws {
        let guest = try RunningMachine {
            $0.raw(0xff, 0x04, 0x25, 0x00, 0x40, 0x20, 0x00, 0xeb, 0xf7)
        }
        #expect(guest.waitForWord(TestKernel.data) { $0 > 0 })
        guest.machine.pause()
        try guest.machine.reset()
        #expect(guest.machine.state == .paused)
        #expect(guest.word(TestKernel.data) == 0)
        #expect(try guest.machine.registers(vcpu: 0).rip == TestKernel.base)
        guest.machine.resume()
        #expect(guest.waitForWord(TestKernel.data) { $0 > 0 })
    }

    @Test func aRequestToPowerOffReachesTheGuest() throws {
        // 1: in al, 0x710; test al, 1; jz 1b; power off. The first round tells that it runs.
        let guest = try RunningMachine {
            $0.stage("A")
            $0.raw(0x66, 0xba, 0x10, 0x07, 0xec, 0xa8, 0x01, 0x74, 0xf7)
            $0.powerOff()
        }
        #expect(guest.recorder.first(\.stageReport)?.stage == .A)
        guest.machine.requestPowerOff()
        #expect(guest.recorder.first(\.isShutdown) == true)
    }

    @Test func inputReachesTheGuest() throws {
        // 1: in al, LSR; test al, 1; jz 1b; in al, RBR; out THR, al; jmp 1b
        let guest = try RunningMachine {
            $0.raw(0x66, 0xba, 0xfd, 0x02, 0xec, 0xa8, 0x01, 0x74, 0xf7, 0x66, 0xba, 0xf8, 0x02, 0xec, 0xee, 0xeb, 0xef)
        }
        let echoed = Guarded<[UInt8]>([])
        let port = guest.machine.monitorPort
        port.onOutput { echoed.update { $0 += port.takeOutput() } }
        let bytes = (0..<500).map { UInt8(truncatingIfNeeded: $0) }
        #expect(port.send(bytes) == 500)
        #expect(echoed.wait(nanoseconds: 20_000_000_000) { $0.count == 500 ? true : nil } == true)
        #expect(echoed.withLock { $0 } == bytes)
    }

    @Test func terminateEndsEverythingAtOnce() throws {
        for vcpus in [1, 2, 8] {
            let guest = try RunningMachine(TestKernel(Code { $0.loop() }.bytes), vcpus: vcpus)
            #expect(guest.machine.threadIDs.count == vcpus)
            guest.machine.terminate()
            #expect(guest.machine.threadIDs.isEmpty)
            // Looking at what is left is still possible, starting is not.
            #expect(try guest.machine.registers(vcpu: 0).rip == TestKernel.base)
            #expect(throws: MachineError.self) { try guest.machine.start() }
            guest.machine.terminate()
            guest.machine.pause()
            guest.machine.resume()
        }
    }

    @Test func wrongConfigurations() throws {
        let file = try TestKernel([0xf4]).file()
        let program = try TemporaryFile([], name: "empty")
        func message(_ change: (inout MachineConfiguration) -> Void) throws -> String {
            var configuration = MachineConfiguration(memory: 64 << 20, kernel: file.path)
            change(&configuration)
            do {
                _ = try Machine(configuration, system: KVMSystem()) { _ in }
                return ""
            } catch let error as MachineError { return error.description }
        }
        #expect(try message { _ in } == "")
        #expect(try message { $0.vcpus = 0 }.contains("at least 1"))
        #expect(try message { $0.vcpus = 1 << 20 }.contains("more than KVM allows"))
        #expect(try message { $0.memory = 0 }.contains("no memory"))
        #expect(try message { $0.memory = 1 << 60 }.contains("address space"))
        #expect(try message { $0.kernel = "/nonexistent" }.contains("No such file"))
        #expect(try message { $0.programs = ["/nonexistent"] }.contains("program /nonexistent: No such file"))
        #expect(try message { $0.programs = [program.path] }.contains("empty"))
        #expect(try message { $0.programs = Array(repeating: file.path, count: 2000) }.contains("too many"))
        #expect(try message { $0.initrd = "/tmp" }.contains("initrd /tmp is a folder"))
        #expect(try message { $0.commandLine = String(repeating: "x", count: 3000) }.contains("at most 2048"))
        #expect(try message { $0.commandLine = "a\0b" }.contains("NUL"))
    }
}
