// The 16550A by its data sheet, and its queues.

import Synchronization
import Testing

@testable import Machine

private final class Line: Sendable {
    let changes = Mutex<[Bool]>([])
    var level: Bool { changes.withLock { $0.last ?? false } }
    func port() -> SerialPort { SerialPort { level in self.changes.withLock { $0.append(level) } } }
}

@Suite struct SerialTests {
    @Test func registersAfterPowerOn() {
        let port = Line().port()
        #expect((0..<8).map { port.read($0) } == [0, 0, 1, 0, 0, 0x60, 0xb0, 0])
    }

    @Test func scratchAndDivisor() {
        let port = Line().port()
        port.write(7, 0xa5)
        #expect(port.read(7) == 0xa5)
        port.write(3, 0x83)
        port.write(0, 1)
        port.write(1, 2)
        #expect(port.read(0) == 1 && port.read(1) == 2)
        port.write(3, 3)
        #expect(port.read(1) == 0)
        #expect(port.takeOutput().isEmpty)
    }

    @Test func outputReachesTheHost() {
        let port = Line().port()
        let notices = Mutex(0)
        port.onOutput { notices.withLock { $0 += 1 } }
        for byte in "hello".utf8 { port.write(0, byte) }
        #expect(port.takeOutput(limit: 2) == Array("he".utf8))
        #expect(port.takeOutput() == Array("llo".utf8))
        // One notice for the queue that was empty, not one a byte.
        #expect(notices.withLock { $0 } == 1)
        port.write(0, 1)
        #expect(notices.withLock { $0 } == 2)
    }

    @Test func aReaderOfLinesIsToldOfLines() {
        let port = Line().port()
        let notices = Mutex(0)
        port.onOutput(at: .line) { notices.withLock { $0 += 1 } }
        for byte in "stage=R".utf8 { port.write(0, byte) }
        #expect(notices.withLock { $0 } == 0)
        for byte in "\nok\n".utf8 { port.write(0, byte) }
        // Two lines that nobody has taken yet: one notice.
        #expect(notices.withLock { $0 } == 1)
        #expect(port.takeOutput() == Array("stage=R\nok\n".utf8))
        // A line without an end does not fill the queue.
        for _ in 0..<SerialPort.queueCapacity / 2 { port.write(0, 0x78) }
        #expect(notices.withLock { $0 } == 2)
        #expect(port.takeOutput().count == SerialPort.queueCapacity / 2 && port.dropped == 0)
    }

    @Test func aHostThatLagsIsSeenInLSR() {
        let line = Line()
        let port = line.port()
        port.write(4, 0x08)
        for _ in 0..<SerialPort.queueCapacity {
            #expect(port.read(5) & 0x20 != 0)
            port.write(0, 0x78)
        }
        #expect(port.read(5) & 0x60 == 0)
        port.write(0, 0x79)
        port.write(0, 0x79)
        #expect(port.dropped == 2)
        port.write(1, 2)
        #expect(!line.level)
        #expect(port.takeOutput(limit: 1) == [0x78])
        #expect(line.level)
        #expect(port.read(5) & 0x60 == 0x60)
        #expect(port.takeOutput().count == SerialPort.queueCapacity - 1)
    }

    @Test func inputByInterrupt() {
        let line = Line()
        let port = line.port()
        port.write(2, 0x01)
        port.write(1, 1)
        #expect(port.send([1]) == 1)
        // OUT2 is off: nothing reaches the interrupt controller.
        #expect(!line.level)
        port.write(4, 0x0b)
        #expect(line.level)
        #expect(port.read(2) == 0xc4)
        #expect(port.read(5) & 1 == 1)
        #expect(port.read(0) == 1)
        #expect(!line.level)
        #expect(port.read(2) == 0xc1)
    }

    @Test func theFIFOHoldsSixteenAndReportsByItsLevel() {
        let line = Line()
        let port = line.port()
        port.write(4, 0x08)
        port.write(1, 1)
        port.write(2, 0xc1)
        #expect(port.send(Array(0..<13)) == 13)
        // Below the level of 14: the character timeout.
        #expect(port.read(2) & 0x0f == 0x0c)
        #expect(port.send([13]) == 1)
        #expect(port.read(2) & 0x0f == 0x04)
        #expect(port.send(Array(14..<40)) == 26)
        #expect((0..<40).map { _ in port.read(0) } == Array(0..<40))
        #expect(port.read(5) & 1 == 0)
    }

    @Test func withoutFIFOOneByteWaits() {
        let port = Line().port()
        #expect(port.send([1, 2, 3]) == 3)
        #expect([port.read(0), port.read(0), port.read(0), port.read(0)] == [1, 2, 3, 0])
    }

    @Test func clearingTheFIFOLosesWhatIsInIt() {
        let port = Line().port()
        port.write(2, 1)
        #expect(port.send(Array(0..<20)) == 20)
        port.write(2, 3)
        #expect(port.read(0) == 16)
    }

    @Test func aLongInputIsTakenInParts() {
        let port = Line().port()
        let space = Mutex(0)
        port.onInputSpace { space.withLock { $0 += 1 } }
        port.write(2, 1)
        let bytes = [UInt8](repeating: 7, count: SerialPort.queueCapacity * 2)
        let taken = port.send(bytes)
        #expect(taken >= SerialPort.queueCapacity && taken < bytes.count)
        #expect(space.withLock { $0 } == 0)
        for _ in 0..<taken { #expect(port.read(0) == 7) }
        #expect(space.withLock { $0 } == 1)
        #expect(port.send([1]) == 1)
    }

    @Test func transmitterInterrupt() {
        let line = Line()
        let port = line.port()
        port.write(4, 0x08)
        port.write(1, 2)
        #expect(line.level)
        #expect(port.read(2) == 2)
        #expect(!line.level)
        #expect(port.read(2) == 1)
        port.write(0, 0x41)
        #expect(line.level)
        // Each byte makes an edge again: the controller may be edge-triggered.
        #expect(port.read(2) == 2)
        port.write(0, 0x42)
        #expect(line.changes.withLock { $0 } == [true, false, true, false, true])
    }

    @Test func loopback() {
        let line = Line()
        let port = line.port()
        port.write(4, 0x1e)
        // RTS -> CTS, OUT1 -> RI, OUT2 -> DCD; DTR is off.
        #expect(port.read(6) & 0xf0 == 0xd0)
        port.write(0, 0x55)
        #expect(port.takeOutput().isEmpty)
        #expect(port.read(5) & 1 == 1)
        #expect(port.send([1]) == 1)
        #expect(port.read(0) == 0x55)
        #expect(port.read(5) & 1 == 0)
        port.write(0, 1)
        port.write(0, 2)
        #expect(port.read(5) & 2 == 2)
        #expect(port.read(5) & 2 == 0)
        #expect(line.changes.withLock { $0 }.isEmpty)
        #expect(port.read(0) == 1)
        port.write(4, 0)
        #expect(port.read(0) == 1)
        #expect(port.read(6) & 0x0f != 0)
        #expect(port.read(6) & 0x0f == 0)
    }

    @Test func resetKeepsOutputForTheHost() {
        let port = Line().port()
        port.write(0, 0x41)
        port.write(7, 9)
        #expect(port.send([1, 2]) == 2)
        port.reset()
        #expect(port.read(7) == 0 && port.read(5) == 0x60)
        #expect(port.takeOutput() == [0x41])
    }
}

@Suite struct PortBusTests {
    private func bus() -> (PortBus, SerialPort, RequestPort) {
        let bus = PortBus()
        let serial = SerialPort { _ in }
        let requests = RequestPort {}
        bus.attach(serial, at: 0x3f8, count: 8)
        bus.attach(ResetControl(), at: 0xcf9, count: 1)
        bus.attach(PowerControl(), at: 0x604, count: 1)
        bus.attach(StagePort(), at: 0x700, count: 1)
        bus.attach(PanicPort(), at: 0x704, count: 1)
        bus.attach(SignaturePort(), at: 0x70c, count: 1)
        bus.attach(requests, at: 0x710, count: 1)
        bus.attach(DebugExit(), at: 0x501, count: 1)
        return (bus, serial, requests)
    }

    @Test func nobodysPortsReadOnes() {
        let (bus, _, _) = bus()
        for port in [0, 0x64, 0x3f7, 0x400, 0xffff] as [UInt16] {
            for width in [1, 2, 4] {
                #expect(bus.read(port, width: width) == 0xffff_ffff)
                #expect(bus.write(port, width: width, 0x1234) == .none)
            }
        }
        #expect(bus.unknownReads.load(ordering: .relaxed) == 15)
        #expect(bus.unknownWrites.load(ordering: .relaxed) == 15)
    }

    @Test func wideAccessesAreCutIntoBytes() {
        let (bus, serial, _) = bus()
        // LCR, MCR, LSR, MSR
        #expect(bus.write(0x3fb, width: 4, 0x0000_0b03) == .none)
        #expect(serial.read(3) == 3 && serial.read(4) == 0x0b)
        #expect(bus.read(0x3fb, width: 4) == 0xb060_0b03)
        // 16 bits at the last port: the next one is nobody's.
        #expect(bus.read(0x3ff, width: 2) == 0xff00)
        #expect(bus.unknownReads.load(ordering: .relaxed) == 1)
    }

    @Test func aConfigurationAddressDoesNotReset() {
        let (bus, _, _) = bus()
        #expect(bus.write(0xcf8, width: 4, 0x8000_ff00) == .none)
        #expect(bus.write(0xcf9, width: 1, 0x02) == .none)
        #expect(bus.write(0xcf9, width: 1, 0x06) == .reset)
        #expect(bus.write(0xcf9, width: 2, 0x06) == .reset)
    }

    @Test func effects() {
        let (bus, _, requests) = bus()
        #expect(bus.write(0x604, width: 2, 0x2000) == .powerOff)
        #expect(bus.write(0x604, width: 2, 0x1fff) == .none)
        #expect(bus.write(0x604, width: 1, 0xff) == .none)
        #expect(bus.write(0x501, width: 4, 0) == .powerOff)
        #expect(bus.write(0x700, width: 1, 0x41) == .stage(0x41))
        #expect(bus.write(0x700, width: 4, 0x4142) == .stage(0x4142))
        #expect(bus.write(0x704, width: 4, 7) == .panic(7))
        #expect(bus.write(0x704, width: 1, 7) == .none)
        #expect(bus.read(0x70c, width: 4) == 0x5254_4956)
        #expect(bus.read(0x70c, width: 1) & 0xff == 0xff)
        requests.post(1)
        #expect(bus.read(0x710, width: 1) & 0xff == 1)
        #expect(bus.read(0x710, width: 1) & 0xff == 0)
    }

    @Test func aRequestIsAnnouncedAgainUntilItIsRead() {
        let pulses = Atomic(0)
        let requests = RequestPort { pulses.add(1, ordering: .relaxed) }
        requests.remind()
        #expect(pulses.load(ordering: .relaxed) == 0)
        requests.post(1)
        requests.remind()
        #expect(pulses.load(ordering: .relaxed) == 2)
        #expect(requests.read(0, width: 1) == 1)
        requests.remind()
        #expect(pulses.load(ordering: .relaxed) == 2)
    }
}
