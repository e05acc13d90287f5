// VMs, rights and kernels that are not as usual: a clear message naming what is missing, or a correct answer.

import Foundation
import TestSupport
import Testing

/// A process of vitrine-witness that holds VMs, until it goes away.
final class Holder {
    let process = Process()
    var pid: Int32 { process.processIdentifier }

    init(_ words: String...) throws {
        let pipe = Pipe()
        process.executableURL = Host.binaries.appending(path: "vitrine-witness")
        process.arguments = ["hold"] + words
        process.standardOutput = pipe
        try process.run()
        var line = Data()
        while !line.contains(10) {
            let bytes = pipe.fileHandleForReading.availableData
            try #require(!bytes.isEmpty, "vitrine-witness hold ended")
            line += bytes
        }
    }

    deinit {
        kill(pid, SIGKILL)
        process.waitUntilExit()
    }
}

@Suite(
    .enabled(if: Host.hasKVM && SecondStageTests.obstacle == nil, "KVM's tables cannot be read here"), .serialized)
struct SecondStageInputTests {
    let bench: Bench
    let vitrine = Host.binaries.appending(path: "vitrine").path
    let witness = Host.binaries.appending(path: "vitrine-witness").path

    init() throws { bench = try Bench() }

    /// A shell command in a mount namespace of its own, where the kernel's files can be hidden.
    private func inNamespace(_ script: String) throws -> CommandResult {
        try command("/usr/bin/unshare", ["-m", "/bin/sh", "-c", script], environment: bench.environment)
    }

    private static let hasNamespaces = (try? command("/usr/bin/unshare", ["-m", "true"]).status) == 0

    @Test func severalVMs() throws {
        let holder = try Holder("vms=2", "slots=3")
        let both = try bench.vitrine("ept", "pid:\(holder.pid)")
        #expect(both.status == 2)
        #expect(
            both.errors.contains("holds 2 KVM VMs") && both.errors.contains("pid:\(holder.pid)#N"), "\(both.errors)")
        for index in 0..<2 {
            let one = try bench.vitrine("ept", "pid:\(holder.pid)#\(index)", "--json")
            #expect(one.status == 0, "\(one.errors)")
            #expect((try one.json()["slots"] as? [Any])?.count == 3)
        }
        #expect(try bench.vitrine("ept", "pid:\(holder.pid)#2").status == 2)
    }

    @Test func thirtyTwoThousandSlots() throws {
        let holder = try Holder("slots=32000", "touch=1")
        for source in ["computed", "both"] {
            let start = Date()
            let result = try bench.vitrine("ept", "pid:\(holder.pid)", "--source", source, "--json")
            let seconds = Date().timeIntervalSince(start)
            #expect(result.status == 0, "\(result.errors)")
            let slots = try #require(try result.json()["slots"] as? [[String: Any]])
            #expect(slots.count == 32_000)
            #expect(slots.allSatisfy { $0["present"] as? Int == 4096 })
            #expect(seconds < 20, "\(source): \(seconds) s")
        }
    }

    /// Slots that are taken away and put back all the time: a list as it was at some moment, or a word that there was none.
    @Test func slotsThatComeAndGo() throws {
        let holder = try Holder("slots=2000", "touch=1", "churn=1")
        for round in 0..<30 {
            let result = try bench.vitrine("ept", "pid:\(holder.pid)", "--json")
            if result.status == 4 {
                #expect(result.errors.contains("the list of memory slots changed each time it was read: try again"))
                continue
            }
            try #require(result.status == 0, "round \(round): \(result.errors)")
            let count = try #require(try result.json()["slots"] as? [Any]).count
            #expect(count == 2000 || count == 1999)
        }
    }

    @Test func aProcessThatEndsMeanwhile() throws {
        for delay in stride(from: 0, to: 200_000, by: 10_000) {
            let holder = try Holder("slots=4000", "touch=1")
            let process = Process()
            let errors = Pipe()
            process.executableURL = URL(fileURLWithPath: vitrine)
            process.arguments = ["ept", "pid:\(holder.pid)", "--source", "both", "--view", "summary"]
            process.standardOutput = FileHandle.nullDevice
            process.standardError = errors
            try process.run()
            usleep(useconds_t(delay))
            kill(holder.pid, SIGKILL)
            process.waitUntilExit()
            let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            // It was done before, or says that the process or its VM went away.
            #expect(
                [0, 3].contains(process.terminationStatus), "after \(delay) us: \(process.terminationStatus) \(text)")
            if process.terminationStatus == 3 { #expect(text.contains("\(holder.pid)"), "\(text)") }
        }
    }

    @Test func threeCapabilitiesAreEnough() throws {
        try bench.start(
            "busy",
            [
                "--memory", "64M", "--append", "ring=3 args=2000", "--program", image("programs/touch-ring3.elf"),
            ])
        let pid = try #require(bench.processes().first)
        // A copy that another user may run.
        let copy = bench.runtime.appending(path: "vitrine-copy").path
        try FileManager.default.copyItem(atPath: vitrine, toPath: copy)
        chmod(copy, 0o755)
        chmod(bench.runtime.path, 0o755)
        func asNobody(_ rights: String, _ words: String...) throws -> CommandResult {
            try command(
                "/usr/bin/setpriv",
                [
                    "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all" + rights,
                    "--ambient-caps=-all" + rights, "--bounding-set=-all" + rights, copy,
                ] + words)
        }
        let three = ",+bpf,+perfmon,+sys_ptrace"
        for words in [["--source", "both"], ["--source", "kernel"], ["--source", "computed"], []] {
            let result = try command(
                "/usr/bin/setpriv",
                [
                    "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all" + three,
                    "--ambient-caps=-all" + three, "--bounding-set=-all" + three, copy, "ept", "pid:\(pid)", "--json",
                ] + words)
            #expect(result.status == 0, "\(words): \(result.errors)")
            let mappings = try #require(try result.json()["mappings"] as? [[String: Any]])
            #expect(mappings.contains { $0["hpa"] is String }, "\(words): no host physical address")
        }
        for words in [["pages", "pid:\(pid)"], ["translate", "pid:\(pid)", "0x200000"], ["map", "pid:\(pid)"]] {
            let result = try asNobody(three, words[0], words[1], words.count > 2 ? words[2] : "--json")
            #expect(result.status == 0, "\(words): \(result.errors)")
        }
        let doctor = try asNobody(three, "doctor")
        #expect(doctor.output.contains("can be read through BPF"), "\(doctor.output)")

        let none = try asNobody("", "ept", "pid:\(pid)")
        #expect(none.status == 4)
        #expect(none.errors.contains("CAP_BPF and CAP_PERFMON"), "\(none.errors)")
        let poor = try asNobody("", "doctor")
        for word in ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"] { #expect(poor.output.contains(word)) }
    }

    @Test(.enabled(if: hasNamespaces, "no mount namespaces")) func aKernelWithoutTypes() throws {
        try bench.start("plain", ["--memory", "64M"])
        let hide = "mkdir \(bench.runtime.path)/empty && mount --bind \(bench.runtime.path)/empty /sys/kernel/btf && "
        let kernel = try inNamespace(hide + "exec \(vitrine) ept plain --source kernel")
        #expect(kernel.status == 4)
        #expect(kernel.errors.contains("type information"), "\(kernel.errors)")
        try FileManager.default.removeItem(atPath: bench.runtime.path + "/empty")
        let fallback = try inNamespace(hide + "exec \(vitrine) ept plain")
        #expect(fallback.status == 0)
        #expect(fallback.errors.contains("showing the computed view"), "\(fallback.errors)")
        try FileManager.default.removeItem(atPath: bench.runtime.path + "/empty")
        let doctor = try inNamespace(hide + "exec \(vitrine) doctor")
        #expect(doctor.output.contains("CONFIG_DEBUG_INFO_BTF"), "\(doctor.output)")
    }

    /// The kernel's own types, but a field has another name.
    @Test(
        .enabled(
            if: hasNamespaces && !FileManager.default.fileExists(atPath: "/sys/kernel/btf/kvm"),
            "KVM's types are not in vmlinux"),
        arguments: ["active_mmu_pages", "gfn_tree", "vcpu_array"])
    func aLayoutThatIsNotKnown(field: String) throws {
        try bench.start("plain", ["--memory", "64M"])
        var types = try Data(contentsOf: URL(fileURLWithPath: "/sys/kernel/btf/vmlinux"))
        let name = Data([0] + Array(field.utf8) + [0])
        let place = try #require(types.range(of: name))
        types[place.lowerBound + 1] = UInt8(ascii: "z")
        let crafted = bench.runtime.appending(path: "types")
        try types.write(to: crafted)
        let bind = "mount --bind \(crafted.path) /sys/kernel/btf/vmlinux && "
        let kernel = try inNamespace(bind + "exec \(vitrine) ept plain --source kernel")
        #expect(kernel.status == 4)
        #expect(kernel.errors.contains(field) && kernel.errors.contains("computed"), "\(kernel.errors)")
        let fallback = try inNamespace(bind + "exec \(vitrine) ept plain")
        #expect(fallback.status == 0 && fallback.errors.contains("showing the computed view"), "\(fallback.errors)")
        let doctor = try inNamespace(bind + "exec \(vitrine) doctor")
        #expect(doctor.output.contains(field), "\(doctor.output)")
    }

    /// Killed while its programs are loaded: they and their maps are gone soon after.
    @Test func nothingStaysLoadedAfterAKill() throws {
        let holder = try Holder("slots=16000", "touch=1")
        func loaded() throws -> Set<String> {
            let result = try command(witness, ["programs"])
            try #require(result.status == 0, "\(result.errors)")
            return Set(result.lines)
        }
        var seen = 0
        for round in 0..<6 {
            let before = try loaded()
            let process = Process()
            process.executableURL = URL(fileURLWithPath: vitrine)
            process.arguments = ["ept", "pid:\(holder.pid)", "--source", "both", "--view", "summary"]
            process.standardOutput = FileHandle.nullDevice
            try process.run()
            var new: Set<String> = []
            while process.isRunning, !new.contains(where: { $0.hasSuffix(" read_pieces") }) {
                new = try loaded().subtracting(before)
            }
            // Further into the walk, round by round.
            usleep(useconds_t(round * 20_000))
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
            if !new.isEmpty { seen += 1 }
            // Numbers are not given again, so whoever loads programs at the same time does not matter.
            let deadline = Date().addingTimeInterval(20)
            while try !loaded().isDisjoint(with: new), Date() < deadline { usleep(50_000) }
            let left = try loaded().intersection(new)
            #expect(left.isEmpty, "left: \(left)")
        }
        #expect(seen > 0, "no program was ever seen loaded")
    }
}
