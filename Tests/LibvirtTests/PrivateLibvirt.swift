// A libvirt of the tests' own: namespaces in which its folders are empty memory, so that nothing of it reaches the machine's
// libvirt, and nothing of it is left when this process ends, however it ends.

import Foundation
import TestSupport
import Testing

/// The tests share one libvirtd, which some of them end and start again: one after the other.
@Suite(.enabled(if: LibvirtHost.missing == nil, "\(LibvirtHost.missing ?? "")"), .serialized)
struct LibvirtTests {}

/// What keeps these tests from running, if anything.
enum LibvirtHost {
    static let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    static let binaries: URL = {
        if let named = ProcessInfo.processInfo.environment["VITRINE_BIN"] { return URL(fileURLWithPath: named) }
        return package.appending(path: ".build/release")
    }()

    /// Why there is no libvirt for the tests; nil: there is one.
    static let missing: String? = {
        if access("/dev/kvm", R_OK | W_OK) != 0 { return "needs /dev/kvm" }
        if geteuid() != 0 { return "needs root: a libvirtd in namespaces of its own is started" }
        for program in ["libvirtd", "virsh", "unshare", "nsenter", "setpriv"] where !isInstalled(program) {
            return "needs \(program) (Debian: libvirt-daemon-system, libvirt-clients, util-linux)"
        }
        let probe = try? command("/usr/bin/unshare", ["-m", "-n", "-p", "-f", "--mount-proc", "true"], timeout: 10)
        return probe?.status == 0 ? nil : "needs the right to make namespaces (unshare)"
    }()

    static func isInstalled(_ program: String) -> Bool {
        ["/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/"].contains { access($0 + program, X_OK) == 0 }
    }
}

/// A libvirtd in namespaces of its own, and an installation of Vitrine in there that its user can reach.
final class PrivateLibvirt: @unchecked Sendable {
    /// The one of all tests.
    static let shared = Result { try PrivateLibvirt() }

    /// The emulator's path in there.
    static let emulator = "/run/vitrine/bin/vitrine-qemu"
    /// A folder in there that every user may write to.
    static let scratch = "/run/scratch"

    private let process = Process()
    private let input = Pipe()

    /// The first process ends, and with it all others of its namespace, when nobody holds the other end of its input.
    private static let script = """
        set -e
        umount -R -l /sys/fs/cgroup 2>/dev/null || true
        for folder in /run /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do
            mkdir -p $folder
            mount -t tmpfs -o mode=755 none $folder
        done
        mkdir -p /run/lock /run/vitrine/bin /run/vitrine/share/vitrine
        mkdir -m 1777 /run/scratch
        ip link set lo up 2>/dev/null || true
        cp "$1/vitrine" "$1/vitrine-vmm" "$1/vitrine-qemu" /run/vitrine/bin
        cp "$1/vitrine-libvirt" /run/vitrine/bin 2>/dev/null || true
        (cd "$2" && find . -name '*.elf' -not -path './objects/*' -exec cp --parents -t /run/vitrine/share/vitrine {} +)
        printf 'stdio_handler = "file"\\nsecurity_driver = "none"\\n' >/etc/libvirt/qemu.conf
        printf 'auth_unix_rw = "none"\\nauth_unix_ro = "none"\\n' >/etc/libvirt/libvirtd.conf
        # By the first process: what a test starts by itself would hold the pipe by which the test's end is waited for.
        (while :; do libvirtd -p /run/libvirtd.pid >/dev/null 2>&1 || true; sleep 0.1; done) &
        for try in $(seq 200); do [ -S /run/libvirt/libvirt-sock ] && break; sleep 0.05; done
        touch /run/scratch/begun
        cat >/dev/null
        """

    private init() throws {
        process.executableURL = URL(fileURLWithPath: "/usr/bin/unshare")
        process.arguments = [
            "-m", "-n", "-p", "-f", "--mount-proc", "--kill-child", "/bin/sh", "-c", Self.script, "sh",
            LibvirtHost.binaries.path, try Self.images(),
        ]
        process.standardInput = input
        // Nobody else may hold it: not what is started later, in there.
        _ = fcntl(input.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
        let log = try TemporaryFolder()
        let errors = try log.file("errors")
        process.standardOutput = FileHandle.nullDevice
        process.standardError = try FileHandle(forWritingTo: errors)
        try process.run()
        for _ in 0..<600 {
            if try inside(["test", "-e", "/run/scratch/begun"]).status == 0 { return }
            guard process.isRunning else { break }
            usleep(50_000)
        }
        throw Failure(text: "libvirtd did not start: \((try? String(contentsOf: errors, encoding: .utf8)) ?? "")")
    }

    private struct Failure: Error { let text: String }

    static func images() throws -> String {
        let outputs = LibvirtHost.package.appending(path: ".build/plugins/outputs").path
        for name in try FileManager.default.contentsOfDirectory(atPath: outputs) {
            let path = outputs + "/\(name)/GuestImages/destination/BuildGuestImages"
            if FileManager.default.fileExists(atPath: path + "/vitrine-osv.elf") { return path }
        }
        throw Failure(text: "no guest images in \(outputs)")
    }

    /// The words that run a program in the namespaces, its own words after them.
    var entering: [String] {
        let own = "/proc/\(process.processIdentifier)/ns"
        return ["--mount=\(own)/mnt", "--net=\(own)/net", "--pid=\(own)/pid_for_children", "--"]
    }

    /// Runs a program in there.
    func inside(
        _ words: [String], environment: [String: String] = [:], input: String? = nil, timeout: Double = 60
    ) throws -> CommandResult {
        try command("/usr/bin/nsenter", entering + words, environment: environment, input: input, timeout: timeout)
    }

    /// Runs a line of the shell in there.
    func shell(_ line: String, timeout: Double = 60) throws -> CommandResult {
        try inside(["/bin/sh", "-c", line], timeout: timeout)
    }

    /// Runs virsh with the private libvirtd.
    func virsh(_ words: String...) throws -> CommandResult {
        try inside(["virsh", "-q", "-c", "qemu:///system"] + words)
    }

    /// Writes a file in there.
    func write(_ name: String, _ text: String) throws -> String {
        let path = Self.scratch + "/" + name
        let result = try inside(["/bin/sh", "-c", "cat >\"$1\"", "sh", path], input: text)
        guard result.status == 0 else { throw Failure(text: result.errors) }
        return path
    }

    /// Asks until the answer is as expected, for half a minute.
    func wait(_ what: () throws -> Bool) rethrows -> Bool {
        for _ in 0..<300 {
            if try what() { return true }
            usleep(100_000)
        }
        return false
    }
}

/// A domain of a test's own, which is gone with it.
final class TestDomain {
    let name: String
    let libvirt: PrivateLibvirt

    /// Defines a domain with two vCPUs.
    init(_ libvirt: PrivateLibvirt, _ name: String, onCrash: String = "destroy", define: Bool = true) throws {
        self.libvirt = libvirt
        self.name = "t-" + name
        guard define else { return }
        let path = try libvirt.write(self.name + ".xml", Self.xml(self.name, onCrash: onCrash))
        let result = try libvirt.virsh("define", path, "--validate")
        guard result.status == 0 else { throw CocoaError(.featureUnsupported, userInfo: ["virsh": result.errors]) }
    }

    deinit {
        _ = try? libvirt.virsh("destroy", name)
        _ = try? libvirt.virsh("undefine", name)
    }

    /// The XML of a domain with the osv guest.
    static func xml(
        _ name: String, onCrash: String = "destroy", os: String = "", devices: String = "<serial type='pty'/>",
        more: String = "", emulator: String = PrivateLibvirt.emulator
    ) -> String {
        """
        <domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>\(name)</name>
        <memory unit='MiB'>64</memory><vcpu>2</vcpu>
        <os><type arch='x86_64' machine='vitrine-osv'>hvm</type>\(os)</os>
        <on_crash>\(onCrash)</on_crash>
        <devices><emulator>\(emulator)</emulator>
        <controller type='usb' model='none'/><memballoon model='none'/>\(devices)</devices>\(more)</domain>
        """
    }

    /// Runs a verb of virsh on it.
    func virsh(_ verb: String, _ words: String...) throws -> CommandResult {
        try libvirt.inside(["virsh", "-q", "-c", "qemu:///system", verb, name] + words)
    }

    /// `running (booted)`
    var state: String {
        get throws { try virsh("domstate", "--reason").output.trimmingCharacters(in: .whitespacesAndNewlines) }
    }

    /// Waits for a state.
    func reaches(_ wanted: String) throws -> Bool { try libvirt.wait { try state == wanted } }

    /// A command of QMP; what it returns.
    func qmp(_ command: String, _ arguments: [String: Any] = [:]) throws -> Any? {
        let data = try JSONSerialization.data(withJSONObject: ["execute": command, "arguments": arguments])
        let result = try virsh("qemu-monitor-command", String(decoding: data, as: UTF8.self))
        let reply = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
        return reply?["return"]
    }

    /// A command of the human monitor; lines end with LF here.
    func hmp(_ line: String) throws -> String {
        try virsh("qemu-monitor-command", "--hmp", line).output.replacing("\r\n", with: "\n")
    }

    /// Starts it and waits until its kernel is ready.
    func start() throws -> Bool {
        let result = try virsh("start")
        guard result.status == 0 else { throw CocoaError(.featureUnsupported, userInfo: ["virsh": result.errors]) }
        return try isReady()
    }

    /// Waits until the kernel is ready.
    func isReady() throws -> Bool {
        try libvirt.wait { (try qmp("x-vitrine-info") as? [String: Any])?["stage"] as? String == "ready" }
    }
}
