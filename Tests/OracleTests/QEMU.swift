// A QEMU under TCG, with its monitor.

import Foundation
import JSON
import Targets
import TestSupport

/// A machine that goes away with its owner.
final class QEMU {
    let process = Process()
    private let temporary: TemporaryFolder
    var folder: String { temporary.path }
    var socket: String { folder + "/qmp.sock" }
    /// A second monitor: QEMU serves one client at a time on each.
    var secondSocket: String { folder + "/second.sock" }
    var console: String { folder + "/console" }

    static let executable = "/usr/bin/qemu-system-x86_64"
    static var isInstalled: Bool { access(executable, X_OK) == 0 }

    static let armExecutable = "/usr/bin/qemu-system-arm"
    static var hasARM: Bool { access(armExecutable, X_OK) == 0 }

    /// Starts QEMU with these arguments and waits for its monitor.
    init(_ arguments: [String], executable: String = QEMU.executable) throws {
        temporary = try TemporaryFolder()
        process.executableURL = URL(fileURLWithPath: executable)
        // Boards with a sound chip would look for the host's.
        process.environment = ProcessInfo.processInfo.environment.merging(["QEMU_AUDIO_DRV": "none"]) { $1 }
        process.arguments =
            [
                "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg", "-no-reboot", "-serial",
                "file:\(console)", "-qmp", "unix:\(socket),server=on,wait=off", "-qmp",
                "unix:\(secondSocket),server=on,wait=off",
            ] + arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        try wait("its monitor") { access(socket, F_OK) == 0 && access(secondSocket, F_OK) == 0 }
    }

    deinit {
        if process.isRunning {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
    }

    struct NotReached: Error, CustomStringConvertible {
        let description: String
    }

    /// Waits until something is so; a machine that never gets there is an error, long after it should have.
    func wait(_ what: String, for seconds: Double = 120, until isSo: () throws -> Bool) throws {
        let deadline = Date().addingTimeInterval(seconds)
        while try !isSo() {
            guard process.isRunning, Date() < deadline else {
                let text = (try? String(contentsOfFile: console, encoding: .utf8)) ?? ""
                throw NotReached(description: "QEMU did not get to \(what); console: \(text.suffix(500))")
            }
            usleep(10_000)
        }
    }

    /// The console so far.
    var consoleText: String {
        String(decoding: FileManager.default.contents(atPath: console) ?? Data(), as: UTF8.self)
    }
}

extension QMPClient {
    /// The human monitor's answers to commands about CPU 0.
    func human(_ commands: [String]) throws -> [String] {
        let replies = try execute(
            commands.map {
                (
                    "human-monitor-command",
                    [JSONMember("command-line", .string($0)), JSONMember("cpu-index", JSON(0))]
                )
            }, timeout: 60)
        return replies.map { $0.value.text ?? "" }
    }

    /// The human monitor's answer to a command about CPU 0.
    func human(_ command: String) throws -> String { try human([command]).first ?? "" }
}
