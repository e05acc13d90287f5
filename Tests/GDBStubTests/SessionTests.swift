// What GDB asks and gets, with a guest of two vCPUs that is no more than its registers and 64 KiB of memory.

import Testing

@testable import GDBStub

/// A guest for the protocol's sake; real ones are in EndToEndTests.
final class FakeGuest: Debuggee {
    var vcpuCount: Int { 2 }
    let registerNames = [
        GDBRegister(name: "rax", size: 8), GDBRegister(name: "rip", size: 8), GDBRegister(name: "eflags", size: 4),
        GDBRegister(name: "xmm0", size: 16), GDBRegister(name: "cr3", size: 8),
    ]
    var values: [[[UInt8]]]
    var memory = [UInt8](repeating: 0, count: 65536)
    var breakpoints: [GDBBreakpoint] = []
    var actions: [[GDBAction]] = []
    var isGone = false
    var isKilled = false

    init() {
        let sizes = [8, 8, 4, 16, 8]
        values = (0..<2).map { vcpu in sizes.map { [UInt8](repeating: UInt8(vcpu * 16 + 1), count: $0) } }
    }

    func registers(of vcpu: Int) -> [[UInt8]] { values[vcpu] }
    func setRegister(_ index: Int, _ bytes: [UInt8], vcpu: Int) throws(DebuggeeError) {
        guard registerNames[index].name != "cr3" else { throw DebuggeeError("not that one") }
        values[vcpu][index] = bytes
    }
    /// Linear addresses are physical ones and 0x10000 more.
    func read(_ address: UInt64, count: Int, vcpu: Int) throws(DebuggeeError) -> [UInt8] {
        try readPhysical(address &- 0x10000, count: count)
    }
    func readPhysical(_ address: UInt64, count: Int) throws(DebuggeeError) -> [UInt8] {
        guard address < 65536 else { throw DebuggeeError("not mapped") }
        return Array(memory[Int(address)..<min(65536, Int(address) + count)])
    }
    func write(_ bytes: [UInt8], at address: UInt64, vcpu: Int) throws(DebuggeeError) {
        try writePhysical(bytes, at: address &- 0x10000)
    }
    func writePhysical(_ bytes: [UInt8], at address: UInt64) throws(DebuggeeError) {
        guard address < 65536, bytes.count <= 65536 - Int(address) else { throw DebuggeeError("not mapped") }
        for (offset, byte) in bytes.enumerated() { memory[Int(address) + offset] = byte }
    }
    func setBreakpoints(_ breakpoints: [GDBBreakpoint], vcpu: Int) throws(DebuggeeError) {
        guard breakpoints.count <= 4 else { throw DebuggeeError("four at most") }
        self.breakpoints = breakpoints
    }
    func go(_ actions: [GDBAction]) throws(DebuggeeError) { self.actions.append(actions) }
    func stop() {}
    func detach() { isGone = true }
    func kill() { isKilled = true }
    func describe(_ vcpu: Int) -> String { "vCPU \(vcpu)" }
    func answer(_ line: String) -> String { "you said \(line)\n" }
}

@Suite struct SessionTests {
    let guest = FakeGuest()

    /// A session that needs no acknowledgements.
    private func session() -> GDBSession {
        let session = GDBSession(guest)
        _ = session.receive(gdbPacket(Array("QStartNoAckMode".utf8)))
        return session
    }

    /// The answers to a packet.
    private func ask(_ session: GDBSession, _ text: String) -> [String] {
        texts(session.receive(gdbPacket(Array(text.utf8))))
    }

    private func texts(_ bytes: [UInt8]) -> [String] {
        var reader = GDBPacketReader()
        return reader.read(bytes).map { input in
            if case .packet(let data) = input { return String(decoding: data, as: UTF8.self) }
            return "\(input)"
        }
    }

    @Test func acknowledgements() {
        let session = GDBSession(guest)
        #expect(session.receive(gdbPacket(Array("qC".utf8))) == Array("+".utf8) + gdbPacket(Array("QC1".utf8)))
        #expect(session.receive(Array("-".utf8)) == gdbPacket(Array("QC1".utf8)))
        #expect(session.receive(Array("$qC#00".utf8)) == Array("-".utf8))
        #expect(
            session.receive(gdbPacket(Array("QStartNoAckMode".utf8))) == Array("+".utf8) + gdbPacket(Array("OK".utf8)))
        #expect(session.receive(gdbPacket(Array("qC".utf8))) == gdbPacket(Array("QC1".utf8)))
    }

    @Test func registers() {
        let session = session()
        let first = String(repeating: "01", count: 44)
        #expect(ask(session, "g") == [first])
        #expect(ask(session, "Hg2") == ["OK"])
        #expect(ask(session, "g") == [String(repeating: "11", count: 44)])
        #expect(ask(session, "p2") == ["11111111"])
        #expect(ask(session, "p5") == ["E01"])
        #expect(ask(session, "P0=8877665544332211") == ["OK"])
        #expect(guest.values[1][0] == [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11])
        #expect(ask(session, "P0=88") == ["E01"])
        #expect(ask(session, "P4=0000000000000000") == ["E.not that one"])
        // All at once: what is not changed is not written, cr3 among them.
        #expect(ask(session, "Hg1") == ["OK"])
        #expect(ask(session, "G" + "0200000000000000" + first.dropFirst(16)) == ["OK"])
        #expect(guest.values[0][0] == [2, 0, 0, 0, 0, 0, 0, 0])
        #expect(ask(session, "G00") == ["E01"])
        #expect(ask(session, "Hg3") == ["E01"])
        #expect(ask(session, "T2") == ["OK"] && ask(session, "T3") == ["E01"] && ask(session, "T0") == ["E01"])
    }

    @Test func memory() {
        let session = session()
        #expect(ask(session, "M10004,3:aabbcc") == ["OK"])
        #expect(ask(session, "m10003,5") == ["00aabbcc00"])
        #expect(ask(session, "m4,3") == ["E0e"])
        // Up to the last byte that is there.
        #expect(ask(session, "m1fffe,10") == ["0000"])
        #expect(ask(session, "Qqemu.PhyMemMode:1") == ["OK"])
        #expect(ask(session, "qqemu.PhyMemMode") == ["1"])
        #expect(ask(session, "m4,3") == ["aabbcc"])
        #expect(ask(session, "Qqemu.PhyMemMode:2") == ["E22"])
        #expect(ask(session, "X5,0:") == ["OK"])
        #expect(texts(session.receive(gdbPacket(Array("X5,2:".utf8) + [0x24, 0x7d]))) == ["OK"])
        #expect(guest.memory[5...6] == [0x24, 0x7d])
        #expect(ask(session, "M5,2:aabbcc") == ["E01"])
        #expect(ask(session, "m5") == ["E01"] && ask(session, "mzz,1") == ["E01"])
    }

    @Test func breakpoints() {
        let session = session()
        #expect(ask(session, "Z0,1000,1") == ["OK"])
        #expect(ask(session, "Z2,2000,8") == ["OK"])
        #expect(guest.breakpoints.map(\.kind) == [.software, .write])
        // Twice is once.
        #expect(ask(session, "Z0,1000,1") == ["OK"] && guest.breakpoints.count == 2)
        #expect(ask(session, "Z1,3000,1") == ["OK"] && ask(session, "Z1,4000,1") == ["OK"])
        #expect(ask(session, "Z1,5000,1") == ["E.four at most"])
        #expect(guest.breakpoints.count == 4)
        #expect(ask(session, "z0,1000,1") == ["OK"] && guest.breakpoints.count == 3)
        #expect(ask(session, "Z5,1000,1") == [""] && ask(session, "Z0,1000") == ["E01"])
        #expect(ask(session, "Z2,1000,ffff") == ["E01"])
    }

    @Test func goingOn() {
        let session = session()
        #expect(ask(session, "?") == ["T02thread:1;"])
        #expect(ask(session, "vCont?") == ["vCont;c;C;s;S"])
        #expect(ask(session, "vCont;s:2;c") == [])
        #expect(guest.actions.last == [.run, .step])
        #expect(texts(session.stopped(.step(vcpu: 1))) == ["T05thread:2;"])
        // Told once.
        #expect(session.stopped(.step(vcpu: 1)).isEmpty)
        #expect(ask(session, "qC") == ["QC2"])
        #expect(ask(session, "vCont;s:2") == [] && guest.actions.last == [.stay, .step])
        #expect(
            texts(session.stopped(.watch(vcpu: 0, address: 0xffff_8000_0000_1000))) == [
                "T05thread:1;watch:ffff800000001000;"
            ])
        #expect(ask(session, "c") == [] && guest.actions.last == [.run, .run])
        #expect(texts(session.receive([3])) == ["T02thread:1;"])
        #expect(ask(session, "s") == [] && guest.actions.last == [.step, .stay])
        #expect(texts(session.stopped(.breakpoint(vcpu: 0, isHardware: true))) == ["T05thread:1;hwbreak:;"])
        #expect(ask(session, "vCont;c:3") == ["E01"] && ask(session, "vCont;x") == ["E01"])
        #expect(ask(session, "vCont;c") == [] && texts(session.stopped(.crashed)) == ["T06thread:1;"])
        // Nothing moves any more.
        let count = guest.actions.count
        #expect(ask(session, "vCont;c") == ["T06thread:1;"] && guest.actions.count == count)
    }

    @Test func theEnd() {
        let session = session()
        _ = ask(session, "vCont;c")
        #expect(texts(session.stopped(.ended)) == ["W00"])
        #expect(session.isOver)
        let other = self.session()
        #expect(ask(other, "D") == ["OK"] && guest.isGone && other.isOver)
        let third = self.session()
        _ = ask(third, "k")
        #expect(guest.isKilled && third.isOver)
    }

    @Test func queries() {
        let session = session()
        #expect(ask(session, "qSupported:multiprocess+")[0].contains("qXfer:features:read+"))
        #expect(ask(session, "qfThreadInfo") == ["m1,2"] && ask(session, "qsThreadInfo") == ["l"])
        #expect(ask(session, "qThreadExtraInfo,2") == [String(decoding: hexDigits("vCPU 1".utf8), as: UTF8.self)])
        let line = String(decoding: hexDigits("pages --json".utf8), as: UTF8.self)
        let answer = String(decoding: hexDigits("you said pages --json\n".utf8), as: UTF8.self)
        #expect(ask(session, "qRcmd,\(line)") == ["O\(answer)", "OK"])
        #expect(ask(session, "vMustReplyEmpty") == [""] && ask(session, "qNobodyKnows") == [""])
    }

    @Test func descriptionInPieces() {
        let session = session()
        var text = ""
        while true {
            let piece = ask(session, "qXfer:features:read:target.xml:\(String(text.utf8.count, radix: 16)),100")[0]
            text += piece.dropFirst()
            if piece.hasPrefix("l") { break }
        }
        #expect(text == targetDescription(guest.registerNames))
        #expect(text.contains("<reg name=\"xmm0\" bitsize=\"128\" type=\"vec128\""))
        #expect(ask(session, "qXfer:features:read:target.xml:fffffff,10") == ["l"])
        #expect(ask(session, "qXfer:features:read:other.xml:0,10") == ["E00"])
    }
}
