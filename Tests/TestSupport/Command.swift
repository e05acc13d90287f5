// Running commands as a user does.

import Foundation

/// How a command ended, and what it said.
public struct CommandResult: Sendable {
    /// The exit status; 124 if it was ended because it took too long.
    public let status: Int32
    /// What it wrote to its standard output.
    public let output: String
    /// What it wrote to its standard error.
    public let errors: String

    /// The lines of its output.
    public var lines: [String] { output.split(separator: "\n").map(String.init) }
}

/// Runs a command to its end, or kills it after `timeout` seconds (status 124).
public func command(
    _ path: String, _ arguments: [String], environment: [String: String] = [:], input: String? = nil,
    timeout: Double = 60
) throws -> CommandResult {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    let folder = try TemporaryFolder()
    // Files rather than pipes: a command that leaves a daemon behind would keep a pipe open for ever.
    let output = try folder.file("out")
    let errors = try folder.file("err")
    process.standardOutput = try FileHandle(forWritingTo: output)
    process.standardError = try FileHandle(forWritingTo: errors)
    process.standardInput =
        try input.map { try FileHandle(forReadingFrom: folder.file("in", Data($0.utf8))) } ?? FileHandle.nullDevice
    try process.run()
    let deadline = Date().addingTimeInterval(timeout)
    while process.isRunning && Date() < deadline { usleep(2000) }
    let late = process.isRunning
    if late {
        kill(process.processIdentifier, SIGKILL)
        // What it has started holds the socket by which Foundation waits for its end, and may go on for ever.
        for _ in 0..<1000 where process.isRunning { usleep(2000) }
    }
    if !process.isRunning { process.waitUntilExit() }
    return CommandResult(
        status: late ? 124 : process.terminationStatus,
        output: String(decoding: try Data(contentsOf: output), as: UTF8.self),
        errors: String(decoding: try Data(contentsOf: errors), as: UTF8.self))
}

/// Runs the `vitrine` that was built with the tests.
public func vitrine(_ words: [String]) throws -> CommandResult {
    // The tests' own executable lies beside it.
    let folder = URL(fileURLWithPath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
        .deletingLastPathComponent()
    return try command(folder.appending(path: "vitrine").path, words)
}
