// The line to the kernel's monitor, with a guest at the other end that says what it likes.

import Testing

@testable import Machine
@testable import Monitor

@Suite struct ExecChannelTests {
    let port = SerialPort { _ in }
    let channel: ExecChannel

    init() { channel = ExecChannel(port: port) }

    /// What a guest writes to COM2, as fast as it is fetched.
    private func write(_ bytes: [UInt8], times: Int = 1) -> [ExecAnswer] {
        var answers: [ExecAnswer] = []
        for _ in 0..<times {
            for byte in bytes { port.write(0, byte) }
            answers += channel.pump()
        }
        return answers
    }

    @Test func blankLinesWithoutEndAreNotKept() throws {
        let block = [UInt8](repeating: 10, count: 60_000)
        _ = write(block, times: 50)
        #expect(channel.keptLines <= 65_536)
        // A command after that has its answer: the whole of what came, cut short; then one that is right.
        try channel.submit(ExecRequest(command: "stage", timeout: 60_000_000_000, connection: 1))
        #expect(channel.pump().isEmpty)
        #expect(write(block, times: 50).isEmpty)
        #expect(channel.keptLines <= 65_536)
        let answers = write(Array("ok\n".utf8))
        #expect(answers.count == 1 && answers.first?.failure == "the answer is longer than a MiB")
        try channel.submit(ExecRequest(command: "stage", timeout: 60_000_000_000, connection: 1))
        #expect(channel.pump().isEmpty)
        let right = write(Array("stage=R\nok\n".utf8))
        #expect(right.first?.lines == ["stage=R"] && right.first?.failure == nil)
    }

    @Test func aLineWithoutEndIsNotKept() throws {
        try channel.submit(ExecRequest(command: "stage", timeout: 60_000_000_000, connection: 1))
        #expect(channel.pump().isEmpty)
        #expect(write([UInt8](repeating: 61, count: 60_000), times: 50).isEmpty)
        #expect(channel.begunLine.count <= 65_536)
        #expect(write(Array("\nok\n".utf8)).first?.failure == "the answer is longer than a MiB")
    }
}
