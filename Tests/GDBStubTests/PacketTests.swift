// The remote protocol's framing.

import TestSupport
import Testing

@testable import GDBStub

@Suite struct PacketTests {
    private func read(_ text: String) -> [GDBInput] {
        var reader = GDBPacketReader()
        return reader.read(text.utf8)
    }

    @Test func packets() {
        #expect(read("$g#67") == [.packet(Array("g".utf8))])
        #expect(read("+$m0,4#fd+$g#67") == [.packet(Array("m0,4".utf8)), .packet(Array("g".utf8))])
        #expect(read("\u{3}$?#3f-") == [.interrupt, .packet(Array("?".utf8)), .again])
        // A wrong sum, no sum, a packet within a packet.
        #expect(read("$g#68") == [.damaged])
        #expect(read("$g#zz") == [.damaged])
        #expect(read("$garbage$g#67") == [.packet(Array("g".utf8))])
        #expect(read("$g").isEmpty)
        #expect(read("no packet at all").isEmpty)
    }

    @Test func everyByteGoesThrough() {
        var random = Random(seed: 11)
        for size in [0, 1, 2, 255, 256, 4000] {
            let data = (0..<size).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            var reader = GDBPacketReader()
            #expect(reader.read(gdbPacket(data)) == [.packet(data)])
            // One byte at a time.
            var slow = GDBPacketReader()
            #expect(gdbPacket(data).flatMap { slow.read([$0]) } == [.packet(data)])
        }
        let all = (0...255).map { UInt8($0) }
        var reader = GDBPacketReader()
        #expect(reader.read(gdbPacket(all)) == [.packet(all)])
    }

    @Test func endlessPackets() {
        var reader = GDBPacketReader()
        let long = [UInt8](repeating: UInt8(ascii: "a"), count: GDBPacketReader.limit + 1)
        #expect(reader.read([UInt8(ascii: "$")] + long).isEmpty)
        // However its sum is: it is not taken, and the next one is.
        #expect(reader.read("#00$g#67".utf8) == [.damaged, .packet(Array("g".utf8))])
    }

    @Test func numbers() {
        func number(_ text: String) -> UInt64? {
            var packet = PacketText(Array(text.utf8)[...])
            return packet.number()
        }
        #expect(number("ffffffffffffffff") == .max)
        #expect(number("10000000000000000") == nil)
        #expect(number("") == nil)
        #expect(number("-1") == nil)
        #expect(number("1f,2") == 0x1f)
        #expect(hexBytes(Array("0aF".utf8)[...]) == nil)
        #expect(hexBytes(Array("0aFf".utf8)[...]) == [10, 255])
        #expect(hexBytes(Array("0g".utf8)[...]) == nil)
    }

    @Test func randomBytesDoNoHarm() {
        var random = Random(seed: 5)
        let alphabet = Array("$#+-}*qvmMgGpPzZc,;:=0123456789abcdef\u{3}".utf8)
        for _ in 0..<2000 {
            let session = GDBSession(FakeGuest())
            for _ in 0..<20 {
                let bytes = (0..<Int(random.next() % 40)).map { _ in
                    alphabet[Int(random.next() % UInt64(alphabet.count))]
                }
                // As a packet with a right sum, and as it is.
                _ = session.receive(gdbPacket(bytes))
                _ = session.receive(bytes)
                _ = session.stopped(.step(vcpu: 1))
            }
        }
    }
}
