// What a guest's process may still do: it is confined by default, a call that is not on a thread's list ends that monitor and
// nothing else, and everything that users do works inside.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct Sandboxed {
    let bench: Bench

    init() throws { bench = try Bench() }

    func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
        for _ in 0..<500 {
            if try condition() { return true }
            usleep(20000)
        }
        return false
    }

    /// The process of a guest.
    func process(_ name: String) throws -> pid_t {
        let text = try String(contentsOfFile: bench.runtime.path + "/vitrine/\(name)/pid", encoding: .utf8)
        return try #require(pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)))
    }

    @Test func confinedByDefault() throws {
        try bench.start("g", ["--memory", "64M", "--cpus", "2"])
        let shown = try bench.vitrine("sandbox", "g", "--json")
        #expect(shown.status == 0, "\(shown.output) \(shown.errors)")
        let json = try shown.json()
        #expect(json["schema"] as? String == "vitrine.sandbox/1")
        #expect((json["sandbox"] as? [String: Any])?["mode"] as? String == "on")
        // The kernel's own word for every thread of the process, whatever the monitor says.
        let tasks = "/proc/\(try process("g"))/task"
        var threads = 0
        for task in try FileManager.default.contentsOfDirectory(atPath: tasks) {
            let status = try String(contentsOfFile: "\(tasks)/\(task)/status", encoding: .utf8)
            if status.hasPrefix("Name:\tkvm-") { continue }
            threads += 1
            for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"] {
                #expect(status.contains(line), "\(line): \(status)")
            }
            if getuid() == 0 { #expect(status.contains("CapBnd:\t0000000000000000")) }
        }
        // Control, two vCPUs, the watch of halts, the threads of transfers and of the log of tables.
        #expect(threads == 6)
        #expect((json["threads"] as? [Any])?.count == 6)
    }

    @Test func offAndLog() throws {
        try bench.start("off", ["--memory", "64M", "--sandbox", "off"])
        #expect(try bench.vitrine("sandbox", "off").output.contains("any system call"))
        try bench.start("log", ["--memory", "64M", "--sandbox", "log"])
        let log = try bench.vitrine("sandbox", "log")
        #expect(log.status == 0 && log.output.contains("mode log"), "\(log.output)")
        let wrong = try bench.vitrine("run", "--sandbox", "maybe")
        #expect(wrong.status == 2 && wrong.errors.contains("on, off and log"), "\(wrong.errors)")
    }

    /// No list has more than it should, none has what no monitor needs, and each call says why.
    @Test func lists() throws {
        let roles = try #require(try bench.vitrine("sandbox", "--json").json()["roles"] as? [[String: Any]])
        var counts: [String: Int] = [:]
        for role in roles {
            let calls = try #require(role["calls"] as? [[String: Any]])
            let names = calls.compactMap { $0["name"] as? String }
            counts[role["role"] as? String ?? ""] = names.count
            #expect(Set(names).count == names.count)
            #expect(calls.allSatisfy { ($0["reason"] as? String)?.isEmpty == false })
            for forbidden in ["execve", "socket", "connect", "ptrace", "clone", "clone3", "fork", "bpf", "prctl"] {
                #expect(!names.contains(forbidden))
            }
        }
        #expect(try #require(counts["vcpu"]) <= 25)
        #expect(try #require(counts["control"]) <= 40)
    }

    /// Every system call that is not on a role's list is made by a thread of it: each ends the process by SIGSYS.
    @Test func everyOtherCallIsRefused() throws {
        let result = try command(
            Host.binaries.appending(path: "vitrine-witness").path, ["refused"], timeout: 240)
        #expect(result.status == 0, "\(result.output) \(result.errors)")
        #expect(result.lines.count == 4)
    }

    /// A monitor is made to make a call that is not on its list: it ends and says so; its neighbour goes on.
    @Test func aViolationEndsThatMonitorAlone() throws {
        try bench.start("bad", ["--memory", "64M"])
        try bench.start("good", ["--memory", "64M"])
        let bad = try process("bad")
        // strace puts a call that no list has, number -1, in the place of the next poll(2).
        let strace = Process()
        strace.executableURL = URL(fileURLWithPath: "/usr/bin/strace")
        strace.arguments = [
            "-qq", "-o", "/dev/null", "-e", "trace=poll", "-e", "inject=poll:error=ENOSYS", "-p", "\(bad)",
        ]
        strace.standardError = FileHandle.nullDevice
        try strace.run()
        defer { if strace.isRunning { strace.terminate() } }
        let isTraced = eventually {
            let status = try? String(contentsOfFile: "/proc/\(bad)/status", encoding: .utf8)
            return status?.contains("TracerPid:\t0\n") == false
        }
        #expect(isTraced)
        // Somebody connects, and the monitor polls again.
        _ = try bench.vitrine("exec", "bad", "stage")
        #expect(eventually { kill(bad, 0) != 0 })
        // The next command cleans up and says why.
        let list = try bench.vitrine("list")
        #expect(list.output.contains("good") && !list.output.contains("bad"), "\(list.output)")
        #expect(list.errors.contains("the sandbox ends this guest: its control thread made"), "\(list.errors)")
        #expect(!FileManager.default.fileExists(atPath: bench.runtime.path + "/vitrine/bad"))
        #expect(try bench.vitrine("exec", "good", "stage").output == "stage=R\n")
    }

    /// Every call on the lists that is not said to be rare is made by a guest that is used: what is not made comes off the list.
    @Test func everyCallIsNeeded() throws {
        let folder = try TemporaryFolder()
        let strace = Process()
        strace.executableURL = URL(fileURLWithPath: "/usr/bin/strace")
        strace.arguments = [
            "-f", "-qq", "-Y", "-e", "signal=none", "-o", folder.path + "/trace",
            Host.binaries.appending(path: "vitrine-vmm").path, "--name", "g", "--memory", "64M", "--cpus", "2",
            "--keep",
            "--console", "file:" + folder.path + "/console", "--core-on-panic", folder.path + "/g.core",
        ]
        strace.environment = ProcessInfo.processInfo.environment.merging(bench.environment) { $1 }
        strace.standardError = FileHandle.nullDevice
        try strace.run()
        defer { if strace.isRunning { strace.terminate() } }
        #expect(try eventually { try bench.vitrine("exec", "g", "stage").output == "stage=R\n" })
        for words in [
            ["audit", "g"], ["pages", "g", "--consistent"], ["save", "g", folder.path + "/g.guest", "--keep-running"],
            ["reset", "g"],
        ] {
            let result = try command(
                Host.binaries.appending(path: "vitrine").path, words, environment: bench.environment, timeout: 120)
            #expect(result.status == 0, "\(words): \(result.errors)")
        }
        #expect(try eventually { try bench.vitrine("exec", "g", "stage").output == "stage=R\n" })
        // A second of watching, a look at the console.
        let script =
            "timeout -s KILL 2 \"$0\" watch g >/dev/null 2>&1; timeout -s KILL 1 \"$0\" console g </dev/null >/dev/null 2>&1; true"
        _ = try command(
            "/bin/bash", ["-c", script, Host.binaries.appending(path: "vitrine").path], environment: bench.environment)
        _ = try bench.vitrine("exec", "g", "panic")
        #expect(eventually { FileManager.default.fileExists(atPath: folder.path + "/g.core") })
        #expect(try bench.vitrine("kill", "g").status == 0)
        #expect(eventually { !strace.isRunning })

        let made = try CallsByRole(String(contentsOfFile: folder.path + "/trace", encoding: .utf8)).made
        let roles = try #require(try bench.vitrine("sandbox", "--json").json()["roles"] as? [[String: Any]])
        for role in roles {
            let name = try #require(role["role"] as? String)
            for call in try #require(role["calls"] as? [[String: Any]]) where call["rare"] is NSNull {
                let word = call["name"] as? String ?? ""
                #expect(made[name]?.contains(word) == true, "a \(name) thread never made \(word)")
            }
        }
    }

    /// A file may be written where the options say, and nowhere else.
    @Test func filesThatStayInReach() throws {
        let folder = try TemporaryFolder()
        try bench.start("p", ["--memory", "64M", "--core-on-panic", folder.path + "/p.core"])
        _ = try bench.vitrine("exec", "p", "panic")
        #expect(eventually { FileManager.default.fileExists(atPath: folder.path + "/p.core") })
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["p.core"])
        #expect(try bench.vitrine("pages", "core:\(folder.path)/p.core").status == 0)
    }
}

/// Which system calls the threads of each role made once they were confined, by what strace wrote.
private struct CallsByRole {
    private(set) var made: [String: Set<String>] = [:]

    /// Lines as `123<vcpu 0> ioctl(13, KVM_RUN, 0) = 0`.
    init(_ trace: String) {
        let roles = [
            "vitrine-vmm": "control", "vcpu": "vcpu", "halt watch": "watch", "table log": "watch",
            "transfer": "transfer",
        ]
        var confined: Set<Substring> = []
        for line in trace.split(separator: "\n") {
            guard let open = line.firstIndex(of: "<"), let close = line.firstIndex(of: ">"), open < close else {
                continue
            }
            let thread = line[line.index(after: open)..<close]
            let rest = line[line.index(after: close)...].drop { $0 == " " }
            guard let end = rest.firstIndex(of: "(") else { continue }
            let call = rest[..<end]
            // A new thread has its maker's name for a while, so its number counts.
            let id = line[..<open]
            guard confined.contains(id) else {
                // Not libseccomp's questions what the kernel has.
                if call == "seccomp", rest.contains("{len=") { confined.insert(id) }
                continue
            }
            guard let role = roles.first(where: { thread.hasPrefix($0.key) })?.value else { continue }
            made[role, default: []].insert(String(call))
        }
    }
}
