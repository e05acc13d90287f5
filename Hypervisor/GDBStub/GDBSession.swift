// One GDB at the other end: packets in, packets out. All-stop; vCPU N is thread N + 1.

/// The stub's side of a debugging session.
public final class GDBSession {
    let debuggee: any Debuggee
    private var reader = GDBPacketReader()
    private var output: [UInt8] = []
    private var lastPacket: [UInt8] = []
    private var acknowledges = true
    /// The vCPU that registers and memory are asked of.
    var current = 0
    /// Whether addresses are physical (Qqemu.PhyMemMode).
    var isPhysical = false
    var breakpoints: [GDBBreakpoint] = []
    /// The guest runs: the next thing GDB gets is why it stopped.
    private(set) var isRunning = false
    /// What the last stop was, for `?`.
    private var lastStop = GDBStop.interrupted
    private let description: [UInt8]
    private var threadsTold = 0
    /// The session is over: GDB detached, or ended the guest.
    public private(set) var isOver = false

    /// Told what GDB asked for and does not show the reason of: that a breakpoint cannot be set.
    public var complain: (String) -> Void = { _ in }

    /// A session with a guest that stands still.
    public init(_ debuggee: any Debuggee) {
        self.debuggee = debuggee
        description = Array(targetDescription(debuggee.registerNames).utf8)
    }

    /// Handles what GDB sent.
    ///
    /// - Returns: what to send to it.
    public func receive(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        for input in reader.read(bytes) where !isOver {
            switch input {
            case .packet(let data):
                if acknowledges { output.append(UInt8(ascii: "+")) }
                handle(data)
            case .damaged: if acknowledges { output.append(UInt8(ascii: "-")) }
            case .again: if acknowledges { output += lastPacket }
            case .interrupt: if isRunning { interrupt() }
            }
        }
        return takeOutput()
    }

    /// Tells GDB that the guest stopped.
    ///
    /// - Returns: what to send to it.
    public func stopped(_ stop: GDBStop) -> [UInt8] {
        if isRunning { tell(stop) }
        return takeOutput()
    }

    private func takeOutput() -> [UInt8] {
        defer { output = [] }
        return output
    }

    // MARK: Answers

    func send(_ data: [UInt8]) {
        lastPacket = gdbPacket(data)
        output += lastPacket
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    /// Runs something that GDB waits for the end of.
    private func done(_ body: () throws(DebuggeeError) -> Void) {
        do throws(DebuggeeError) {
            try body()
            send("OK")
        } catch {
            fail(error)
        }
    }

    /// An error with its reason, which GDB shows for some requests; `E01` alone says nothing.
    func fail(_ error: DebuggeeError) { send("E.\(error.description)") }

    private func tell(_ stop: GDBStop) {
        isRunning = false
        lastStop = stop
        if case .step(let vcpu) = stop { current = vcpu }
        if case .breakpoint(let vcpu, _) = stop { current = vcpu }
        if case .watch(let vcpu, _) = stop { current = vcpu }
        send(stopReply(stop))
        if case .ended = stop { isOver = true }
    }

    /// Signals are the host's numbers: 2 SIGINT, 5 SIGTRAP, 6 SIGABRT.
    private func stopReply(_ stop: GDBStop) -> String {
        let thread = "thread:\(String(current + 1, radix: 16));"
        switch stop {
        case .interrupted: return "T02" + thread
        case .step: return "T05" + thread
        case .breakpoint(_, let isHardware): return "T05" + thread + (isHardware ? "hwbreak:;" : "swbreak:;")
        case .watch(_, let address): return "T05" + thread + "watch:\(String(address, radix: 16));"
        case .crashed: return "T06" + thread
        case .ended: return "W00"
        }
    }

    private func interrupt() {
        do throws(DebuggeeError) {
            try debuggee.stop()
            tell(.interrupted)
        } catch {
            tell(.ended)
        }
    }

    // MARK: Requests

    private func handle(_ data: [UInt8]) {
        guard let first = data.first else { return send("") }
        var text = PacketText(data.dropFirst())
        switch first {
        case UInt8(ascii: "?"): send(stopReply(lastStop))
        case UInt8(ascii: "g"): registers()
        case UInt8(ascii: "G"): setRegisters(text.rest)
        case UInt8(ascii: "p"): register(&text)
        case UInt8(ascii: "P"): setRegister(&text)
        case UInt8(ascii: "m"): readMemory(&text)
        case UInt8(ascii: "M"): writeMemory(&text, isBinary: false)
        case UInt8(ascii: "X"): writeMemory(&text, isBinary: true)
        case UInt8(ascii: "Z"): change(&text, inserts: true)
        case UInt8(ascii: "z"): change(&text, inserts: false)
        case UInt8(ascii: "c"), UInt8(ascii: "C"), UInt8(ascii: "s"), UInt8(ascii: "S"):
            old(isStep: first == UInt8(ascii: "s") || first == UInt8(ascii: "S"), hasSignal: first < 0x60, &text)
        case UInt8(ascii: "H"): selectThread(&text)
        case UInt8(ascii: "T"): send(text.thread().map { (1...debuggee.vcpuCount).contains($0) } == true ? "OK" : "E01")
        case UInt8(ascii: "D"):
            done { () throws(DebuggeeError) in try debuggee.detach() }
            isOver = true
        case UInt8(ascii: "k"):
            try? debuggee.kill()
            isOver = true
        case UInt8(ascii: "v"): extended(&text)
        case UInt8(ascii: "q"), UInt8(ascii: "Q"): query(data)
        case UInt8(ascii: "!"): send("OK")
        // An empty answer: there is no such request.
        default: send("")
        }
    }

    private func selectThread(_ text: inout PacketText) {
        guard text.take("g") || text.take("c"), let thread = text.thread(), thread <= debuggee.vcpuCount else {
            return send("E01")
        }
        if thread > 0 { current = thread - 1 }
        send("OK")
    }

    private func old(isStep: Bool, hasSignal: Bool, _ text: inout PacketText) {
        if hasSignal {
            _ = text.number()
            _ = text.take(";")
        }
        // Somewhere else than where it stands: GDB writes RIP instead.
        guard text.isEmpty else { return send("E01") }
        go((0..<debuggee.vcpuCount).map { isStep ? ($0 == current ? .step : .stay) : .run })
    }

    /// vCont, vKill, and what is asked of every stub.
    private func extended(_ text: inout PacketText) {
        if text.take("Cont?") { return send("vCont;c;C;s;S") }
        if text.take("Kill") {
            done { () throws(DebuggeeError) in try debuggee.kill() }
            isOver = true
            return
        }
        guard text.take("Cont") else { return send("") }
        // vCont;s:1;c - the first action that fits a thread counts.
        var actions = [GDBAction?](repeating: nil, count: debuggee.vcpuCount)
        while text.take(";") {
            let action: GDBAction
            if text.take("c") {
                action = .run
            } else if text.take("s") {
                action = .step
            } else if text.take("C") {
                action = .run
                _ = text.number()
            } else if text.take("S") {
                action = .step
                _ = text.number()
            } else {
                return send("E01")
            }
            var thread = -1
            if text.take(":") {
                guard let named = text.thread(), named <= debuggee.vcpuCount else { return send("E01") }
                thread = named
            }
            for vcpu in actions.indices where actions[vcpu] == nil {
                if thread == -1 || thread == vcpu + 1 || thread == 0 && vcpu == current { actions[vcpu] = action }
            }
        }
        guard text.isEmpty else { return send("E01") }
        go(actions.map { $0 ?? .stay })
    }

    private func go(_ actions: [GDBAction]) {
        if case .crashed = lastStop { return send(stopReply(lastStop)) }
        isRunning = true
        do throws(DebuggeeError) {
            try debuggee.go(actions)
        } catch {
            // GDB takes no error here: it is told on its console, and that nothing has moved.
            send([UInt8(ascii: "O")] + hexDigits("vitrine: \(error)\n".utf8))
            tell(.interrupted)
        }
    }

    // MARK: Queries

    private func query(_ data: [UInt8]) {
        var text = PacketText(data[...])
        if text.take("qSupported") {
            send(
                "PacketSize=\(String(GDBPacketReader.limit, radix: 16));qXfer:features:read+;vContSupported+;swbreak+;hwbreak+;"
                    + "QStartNoAckMode+")
        } else if text.take("QStartNoAckMode") {
            send("OK")
            acknowledges = false
        } else if text.take("qXfer:features:read:target.xml:") {
            transfer(&text)
        } else if text.take("qXfer:") {
            send("E00")
        } else if text.take("qfThreadInfo") {
            threadsTold = 0
            tellThreads()
        } else if text.take("qsThreadInfo") {
            tellThreads()
        } else if text.take("qThreadExtraInfo,") {
            guard let thread = text.thread(), (1...debuggee.vcpuCount).contains(thread) else { return send("E01") }
            send(hexDigits(debuggee.describe(thread - 1).utf8))
        } else if text.take("qC") {
            send("QC\(String(current + 1, radix: 16))")
        } else if text.take("qAttached") {
            send("1")
        } else if text.take("qRcmd,") {
            guard let bytes = hexBytes(text.rest) else { return send("E01") }
            let answer = debuggee.answer(String(decoding: bytes, as: UTF8.self))
            // In pieces that fit.
            let digits = hexDigits(answer.utf8)
            for start in stride(from: 0, to: digits.count, by: 0x3000) {
                send([UInt8(ascii: "O")] + digits[start..<min(digits.count, start + 0x3000)])
            }
            send("OK")
        } else if text.take("qqemu.PhyMemMode") {
            send(isPhysical ? "1" : "0")
        } else if text.take("Qqemu.PhyMemMode:") {
            guard let mode = text.number(), mode <= 1, text.isEmpty else { return send("E22") }
            isPhysical = mode == 1
            send("OK")
        } else if text.take("qSymbol") {
            send("OK")
        } else {
            send("")
        }
    }

    /// A part of the target description: OFFSET,LENGTH.
    private func transfer(_ text: inout PacketText) {
        guard let offset = text.number(), text.take(","), let length = text.number(), text.isEmpty else {
            return send("E00")
        }
        guard offset < UInt64(description.count) else { return send("l") }
        let start = Int(offset)
        // Room for the letter, and for escapes.
        let end = start + Int(min(length, UInt64(description.count - start), 0x3000))
        send([UInt8(ascii: end == description.count ? "l" : "m")] + description[start..<end])
    }

    /// The next threads, as many as fit.
    private func tellThreads() {
        let end = min(debuggee.vcpuCount, threadsTold + 1024)
        guard threadsTold < end else { return send("l") }
        let list = (threadsTold..<end).map { String($0 + 1, radix: 16) }.joined(separator: ",")
        threadsTold = end
        send("m" + list)
    }
}
