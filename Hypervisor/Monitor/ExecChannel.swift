// The kernel's monitor on COM2: one command at a time, one answer each.

import Machine
import SystemCalls

/// A command for the kernel's monitor, and who wants the answer.
package struct ExecRequest {
    /// The line, without its end.
    let command: String
    /// How long the kernel has, in nanoseconds.
    let timeout: UInt64
    /// The connection that asked.
    let connection: Int

    /// A command of a connection.
    package init(command: String, timeout: UInt64, connection: Int) {
        self.command = command
        self.timeout = timeout
        self.connection = connection
    }
}

/// What became of a command.
package struct ExecAnswer {
    let request: ExecRequest
    /// The lines before the last.
    package var lines: [String] = []
    /// What follows `error: `; nil: `ok`.
    var error: String?
    /// Why there is no answer; nil: there is one.
    package var failure: String?
}

/// The line to the kernel's monitor. Lives on the control thread.
///
/// The answers come in the order of the commands and carry no mark. So when one is not answered in time, the next
/// command is not sent before that answer has come after all: it could not be told from the next one's.
package final class ExecChannel {
    /// The longest command (docs/guest-contract.md).
    static let commandLimit = 255
    private static let answerLimit = 1 << 20
    /// What a line takes besides its bytes, against guests that send blank ones for ever.
    private static let lineCost = 16
    private static let queueLimit = 256

    private let port: SerialPort
    private var waiting: [ExecRequest] = []
    private var current: (request: ExecRequest, deadline: UInt64)?
    /// The command whose answer is overdue, if any.
    private(set) var overdue: String?
    private var unsent: ArraySlice<UInt8> = []
    private var line: [UInt8] = []
    private var lines: [String] = []
    private var answerSize = 0
    private var isTooLong = false

    package init(port: SerialPort) {
        self.port = port
    }

    /// Queues a command.
    package func submit(_ request: ExecRequest) throws(QMPError) {
        guard request.command.utf8.count <= ExecChannel.commandLimit else {
            throw .generic("a command has at most \(ExecChannel.commandLimit) bytes")
        }
        guard !request.command.isEmpty, request.command.utf8.allSatisfy({ (32...126).contains($0) }) else {
            throw .generic("a command is one line of printable ASCII characters")
        }
        if let overdue {
            throw .generic("the kernel's monitor still owes the answer to '\(overdue)'")
        }
        guard waiting.count < ExecChannel.queueLimit else { throw .generic("too many commands wait already") }
        waiting.append(request)
    }

    /// The command whose answer the kernel has not finished, if any.
    var owed: String? { current?.request.command ?? overdue }
    /// What has come of the line that it is writing.
    package var begunLine: [UInt8] { line }

    /// How many lines are kept of an answer that has not ended.
    package var keptLines: Int { lines.count }

    /// The kernel owes an answer that nobody waits for here.
    func owe(_ command: String, begun: [UInt8]) {
        overdue = command
        line = begun
    }

    /// When the command under way is given up, or nil if there is none.
    var deadline: UInt64? { current?.deadline }

    /// Sends, receives, and gives up what is overdue.
    ///
    /// - Returns: the commands that are done.
    package func pump() -> [ExecAnswer] {
        var answers: [ExecAnswer] = []
        while true {
            for byte in port.takeOutput() { take(byte, &answers) }
            if let (request, deadline) = current, monotonicNanoseconds() >= deadline {
                let seconds = Double(request.timeout) / 1e9
                answers.append(
                    ExecAnswer(
                        request: request, failure: "the kernel's monitor did not answer within \(seconds) s"))
                overdue = request.command
                current = nil
                for other in waiting {
                    answers.append(
                        ExecAnswer(
                            request: other,
                            failure: "the kernel's monitor still owes the answer to '\(request.command)'"))
                }
                waiting = []
            }
            if current == nil, overdue == nil, !waiting.isEmpty {
                let request = waiting.removeFirst()
                forgetAnswer()
                current = (request, monotonicNanoseconds() &+ request.timeout)
                unsent = Array(request.command.utf8)[...] + [10]
            }
            guard !unsent.isEmpty else { return answers }
            let sent = port.send(unsent)
            unsent.removeFirst(sent)
            if sent == 0 { return answers }
        }
    }

    /// The guest starts anew or is gone: nothing is owed any more.
    ///
    /// - Parameter reason: what those who wait are told; commands that mean to end the guest have succeeded.
    func reset(_ reason: String) -> [ExecAnswer] {
        var answers: [ExecAnswer] = []
        if let (request, _) = current {
            let word = request.command.split(separator: " ").first.map(String.init) ?? ""
            let isMeant = ["poweroff", "reboot", "panic"].contains(word)
            answers.append(ExecAnswer(request: request, lines: lines, failure: isMeant ? nil : reason))
        }
        for request in waiting { answers.append(ExecAnswer(request: request, failure: reason)) }
        waiting = []
        current = nil
        overdue = nil
        unsent = []
        forgetAnswer()
        _ = port.takeOutput()
        return answers
    }

    private func forgetAnswer() {
        line = []
        lines = []
        answerSize = 0
        isTooLong = false
    }

    private func take(_ byte: UInt8, _ answers: inout [ExecAnswer]) {
        answerSize += byte == 10 ? ExecChannel.lineCost : 1
        if answerSize > ExecChannel.answerLimit {
            isTooLong = true
            // Its count does not run over.
            answerSize = ExecChannel.answerLimit + 1
            lines = []
        }
        guard byte == 10 else {
            // Also of an answer that is too long the end has to be found.
            if line.count < 65536 { line.append(byte) } else { isTooLong = true }
            return
        }
        if line.last == 13 { line.removeLast() }
        let text = String(decoding: line, as: UTF8.self)
        line = []
        let isLast = text == "ok" || text.hasPrefix("error: ")
        guard isLast else {
            if !isTooLong { lines.append(text) }
            return
        }
        if let (request, _) = current, unsent.isEmpty {
            let error = text == "ok" ? nil : String(text.dropFirst(7))
            answers.append(
                isTooLong
                    ? ExecAnswer(request: request, failure: "the answer is longer than a MiB")
                    : ExecAnswer(request: request, lines: lines, error: error))
            current = nil
        } else {
            overdue = nil
        }
        forgetAnswer()
    }
}
