// What the end-to-end tests share: the real executables, each test in a runtime folder of its own, and guests that are
// gone when the test ends, also when it fails.

import Foundation
import TestSupport
import Testing

extension CommandResult {
    /// The output as JSON.
    func json() throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any], "no JSON: \(output)")
    }
}

/// The host as the tests need it.
enum Host {
    /// Whether this process may use /dev/kvm.
    static let hasKVM = access("/dev/kvm", R_OK | W_OK) == 0

    /// Whether QEMU is installed.
    static let hasQEMU = access("/usr/bin/qemu-system-x86_64", X_OK) == 0
    static let hasARM = access("/usr/bin/qemu-system-arm", X_OK) == 0

    /// Whether ring 0 of a guest is emulated (KVM without hardware virtualisation): then KVM counts its instructions.
    static let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// The folder of the executables under test: the release build, or the one VITRINE_BIN names.
    static let binaries: URL = {
        if let named = ProcessInfo.processInfo.environment["VITRINE_BIN"] { return URL(fileURLWithPath: named) }
        return package.appending(path: ".build/release")
    }()
}

/// A runtime folder of its own and the guests started in it; everything is gone with it.
final class Bench: @unchecked Sendable {
    let runtime: URL
    let environment: [String: String]

    init() throws {
        // Short: a UNIX socket's path has 108 bytes.
        runtime = URL(fileURLWithPath: "/tmp/vt-\(UInt32.random(in: 0...UInt32.max))")
        try FileManager.default.createDirectory(
            at: runtime, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        environment = ["XDG_RUNTIME_DIR": runtime.path, "NO_COLOR": "1"]
    }

    deinit {
        for pid in processes() { kill(pid, SIGKILL) }
        try? FileManager.default.removeItem(at: runtime)
    }

    /// The monitors running in this folder, from their pid files.
    func processes() -> [pid_t] {
        let folder = runtime.appending(path: "vitrine")
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return names.compactMap { name in
            let text = try? String(contentsOf: folder.appending(path: "\(name)/pid"), encoding: .utf8)
            return text.flatMap { pid_t($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
        }
    }

    /// Runs `vitrine` with these arguments.
    @discardableResult
    func vitrine(_ arguments: String..., input: String? = nil, timeout: Double = 60) throws -> CommandResult {
        try command(
            Host.binaries.appending(path: "vitrine").path, arguments, environment: environment, input: input,
            timeout: timeout)
    }

    /// Starts a guest in the background and waits until it is ready.
    func start(_ name: String, _ arguments: [String] = [], ready: Bool = true) throws {
        var words = ["run", "--name", name, "--detach"]
        if ready { words += ["--wait-ready", "30"] }
        let result = try command(
            Host.binaries.appending(path: "vitrine").path, words + arguments, environment: environment)
        try #require(result.status == 0, "vitrine run: \(result.status) \(result.output) \(result.errors)")
    }

    /// One command to the guest kernel's monitor; its answer as a dictionary for each line. The kernel has longer than by
    /// default: there may be more guests than processors.
    func exec(_ name: String, _ line: String) throws -> [[String: String]] {
        let result = try vitrine("exec", "--timeout", "100", name, line, timeout: 120)
        try #require(result.status == 0, "exec \(line): \(result.output) \(result.errors)")
        return result.lines.map(pairs)
    }

    /// `a=1 b=2` as a dictionary.
    func pairs(_ line: String) -> [String: String] {
        var found: [String: String] = [:]
        for word in line.split(separator: " ") {
            if let equals = word.firstIndex(of: "=") {
                found[String(word[..<equals])] = String(word[word.index(after: equals)...])
            }
        }
        return found
    }
}

/// The path of a built image.
func image(_ name: String) throws -> String {
    let outputs = Host.binaries.deletingLastPathComponent().deletingLastPathComponent().appending(
        path: "plugins/outputs")
    let folder = Host.package.appending(path: ".build/plugins/outputs")
    for root in [outputs, folder] {
        for package in (try? FileManager.default.contentsOfDirectory(atPath: root.path)) ?? [] {
            let path = root.path + "/\(package)/GuestImages/destination/BuildGuestImages/\(name)"
            if FileManager.default.fileExists(atPath: path) { return path }
        }
    }
    throw CocoaError(.fileNoSuchFile, userInfo: [NSFilePathErrorKey: name])
}
