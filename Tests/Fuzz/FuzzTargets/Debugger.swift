import GDBStub

/// What GDB sends: the input as a stream, then each of its lines as a packet that is whole. Whatever it says, the answers are
/// packets, and not more than it asked for.
func fuzzGDB(_ bytes: UnsafeRawBufferPointer) {
    let stream = GDBSession(FuzzDebuggee())
    check(stream.receive(bytes), requests: bytes.count)
    let packets = GDBSession(FuzzDebuggee())
    for line in bytes.split(separator: 10) where !packets.isOver {
        check(packets.receive(gdbPacket(Array(line))), requests: 1)
        // Whatever runs stops again, each time for another reason.
        let vcpu = line.count % FuzzDebuggee.vcpus
        let stops: [GDBStop] = [
            .step(vcpu: vcpu), .breakpoint(vcpu: vcpu, isHardware: true), .watch(vcpu: vcpu, address: .max),
            .interrupted,
            .crashed,
        ]
        check(packets.stopped(stops[line.count % stops.count]), requests: 1)
    }
}

private func check(_ answer: [UInt8], requests: Int) {
    // An answer to `monitor` comes in several packets; nothing else is longer than one.
    precondition(answer.count <= requests * 2 * 0x4000 + 0x4000, "more than was asked for")
    var reader = GDBPacketReader()
    var hasPacket = false
    for input in reader.read(answer) {
        switch input {
        case .packet: hasPacket = true
        case .damaged, .interrupt: preconditionFailure("no packet")
        case .again: break
        }
    }
    precondition(hasPacket || !answer.contains(UInt8(ascii: "$")), "a packet that does not end")
}

/// A guest that takes what makes sense and minds what it is asked.
private final class FuzzDebuggee: Debuggee {
    static let vcpus = 3
    let vcpuCount = FuzzDebuggee.vcpus
    let registerNames = [
        GDBRegister(name: "rax", size: 8), GDBRegister(name: "eflags", size: 4), GDBRegister(name: "st0", size: 10),
        GDBRegister(name: "xmm0", size: 16),
    ]
    private var values: [[[UInt8]]]
    private var memory = [UInt8](repeating: 0x23, count: 4096)

    init() {
        values = Array(
            repeating: registerNames.map { Array(repeating: 0, count: $0.size) }, count: FuzzDebuggee.vcpus)
    }

    func registers(of vcpu: Int) throws(DebuggeeError) -> [[UInt8]] { values[vcpu] }

    func setRegister(_ index: Int, _ bytes: [UInt8], vcpu: Int) throws(DebuggeeError) {
        precondition(bytes.count == registerNames[index].size, "another size")
        if index == 1 { throw DebuggeeError("eflags stays") }
        values[vcpu][index] = bytes
    }

    func read(_ address: UInt64, count: Int, vcpu: Int) throws(DebuggeeError) -> [UInt8] {
        precondition((0..<vcpuCount).contains(vcpu), "no vCPU")
        return try readPhysical(address, count: count)
    }

    func readPhysical(_ address: UInt64, count: Int) throws(DebuggeeError) -> [UInt8] {
        precondition((1...GDBPacketReader.limit / 2).contains(count), "more than a packet holds")
        guard address < 4096 else { throw DebuggeeError("nothing is there") }
        return Array(memory[Int(address)...].prefix(count))
    }

    func write(_ bytes: [UInt8], at address: UInt64, vcpu: Int) throws(DebuggeeError) {
        precondition((0..<vcpuCount).contains(vcpu), "no vCPU")
        try writePhysical(bytes, at: address)
    }

    func writePhysical(_ bytes: [UInt8], at address: UInt64) throws(DebuggeeError) {
        guard address < 4096, bytes.count <= 4096 - Int(address) else { throw DebuggeeError("nothing is there") }
        memory.replaceSubrange(Int(address)..<Int(address) + bytes.count, with: bytes)
    }

    func setBreakpoints(_ breakpoints: [GDBBreakpoint], vcpu: Int) throws(DebuggeeError) {
        precondition(Set(breakpoints).count == breakpoints.count, "one twice")
        guard breakpoints.count <= 4 else { throw DebuggeeError("a fifth") }
    }

    func go(_ actions: [GDBAction]) throws(DebuggeeError) {
        precondition(actions.count == vcpuCount, "an action for each")
        if actions.allSatisfy({ $0 == .stay }) { throw DebuggeeError("nobody moves") }
    }

    func stop() throws(DebuggeeError) {}
    func detach() throws(DebuggeeError) {}
    func kill() throws(DebuggeeError) {}
    func describe(_ vcpu: Int) -> String { "vCPU \(vcpu)" }
    func answer(_ line: String) -> String { line.hasPrefix("p") ? String(repeating: "$#}*", count: 5000) : line }
}
