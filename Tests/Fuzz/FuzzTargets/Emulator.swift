import Glibc
import JSON
import Machine
import Monitor
import SystemCalls

/// A client of the probe's monitor: whatever it says, each line of the answer is JSON, ends as QEMU's do, and is an answer.
func fuzzQMP(_ bytes: UnsafeRawBufferPointer) {
    guard let answer = try? QEMUProbe.conversation(Array(bytes)) else { return }
    var lines = answer.split(separator: 10, omittingEmptySubsequences: false)
    precondition(lines.popLast()?.isEmpty ?? true, "a line without an end")
    precondition(!lines.isEmpty, "no greeting")
    for (index, line) in lines.enumerated() {
        guard let value = try? JSON.parse(line.dropLast()) else { preconditionFailure("no JSON") }
        precondition(line.last == 13, "no CR")
        precondition((value["QMP"] != nil) == (index == 0), "the greeting")
        if index > 0 { precondition((value["return"] != nil) != (value["error"]?["class"]?.text != nil), "no answer") }
    }
}

/// A command line: options that make sense, or an error that says something.
func fuzzQEMUCommandLine(_ bytes: UnsafeRawBufferPointer) {
    let words = bytes.split(separator: 10, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
    do throws(MonitorError) {
        let options = try QEMUOptions(words: words)
        precondition(RunOptions.layouts.contains(options.run.machine.layout), "no layout")
        precondition((1...65536).contains(options.run.machine.vcpus), "no vCPUs")
        precondition(options.isProbe || !options.run.machine.kernel.isEmpty || words.contains("-kernel"), "no kernel")
    } catch {
        precondition(!error.description.isEmpty, "an error without a word")
    }
}
