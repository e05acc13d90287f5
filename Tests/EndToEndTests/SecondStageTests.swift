// KVM's own tables against what they are made from, of live guests; and what is said where that cannot be had.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Host.hasKVM, "no access to /dev/kvm"), .serialized)
struct SecondStageTests {
    /// Why KVM's tables cannot be read here; nil if they can.
    static let obstacle: String? = {
        let result = try? command(Host.binaries.appending(path: "vitrine").path, ["ept", "pid:\(getpid())"])
        // This process holds no VM: with every right that is what is said, with status 3.
        return result?.status == 3 ? nil : result?.errors ?? "vitrine does not run"
    }()

    /// A guest whose ring-3 program keeps writing and remapping pages: shadow tables hold only what ring 3 touched.
    private func busyGuest(_ bench: Bench, pages: Int) throws {
        try bench.start(
            "busy",
            [
                "--memory", "256M", "--cpus", "2", "--append", "ring=3 args=\(pages)", "--program",
                image("programs/touch-ring3.elf"),
            ])
    }

    private func leaves(_ report: [String: Any]) throws -> Int {
        let check = try #require(report["check"] as? [String: Any])
        return try #require(check["leaves"] as? Int)
    }

    @Test(.enabled(if: obstacle == nil, "KVM's tables cannot be read here"))
    func kernelAgreesWithWhatItIsMadeFrom() throws {
        let bench = try Bench()
        try busyGuest(bench, pages: 12_000)
        try agree("busy", bench)
    }

    /// Every leaf agrees, 100 times in a row, and there are many.
    private func agree(_ target: String, _ bench: Bench) throws {
        // The program's first pass fills the tables.
        var seen = 0
        let deadline = Date().addingTimeInterval(120)
        while seen < 10_000, Date() < deadline {
            usleep(200_000)
            let result = try bench.vitrine("ept", target, "--source", "both", "--view", "summary", "--json")
            if result.status == 0 { seen = try leaves(result.json()) }
        }
        try #require(seen >= 5_000, "only \(seen) leaves")
        for round in 0..<100 {
            let result = try bench.vitrine("ept", target, "--source", "both", "--view", "summary", "--json")
            let check = try #require(try result.json()["check"] as? [String: Any])
            try #require(result.status == 0, "round \(round): \(result.output.prefix(2000))")
            let compared = try #require(check["leaves"] as? Int)
            try #require(compared >= 5_000, "round \(round): only \(compared) leaves")
        }
    }

    /// The same kernel and program under QEMU, which gives no help.
    @Test(.enabled(if: obstacle == nil && Host.hasQEMU, "KVM's tables cannot be read here, or there is no QEMU"))
    func kernelAgreesForAnyProcess() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/qemu-system-x86_64")
        process.arguments = [
            "-accel", "kvm", "-M", "microvm", "-m", "256", "-smp", "2", "-nodefaults", "-no-user-config", "-display",
            "none", "-no-reboot", "-kernel", try image("vitrine-osv.elf"), "-initrd",
            try image("programs/touch-ring3.elf"), "-append", "layout=osv cpus=2 ring=3 args=12000", "-serial", "null",
        ]
        process.standardError = FileHandle.nullDevice
        try process.run()
        defer {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        let bench = try Bench()
        let target = "pid:\(process.processIdentifier)"
        try agree(target, bench)
    }

    @Test(.enabled(if: obstacle == nil, "KVM's tables cannot be read here"))
    func sameGuestByNameAndByProcess() throws {
        let bench = try Bench()
        try bench.start("plain", ["--memory", "128M"])
        let pid = try #require(bench.processes().first)
        let byName = try bench.vitrine("translate", "plain", "0xffff800000200000", "0x200000", "--json").json()
        let byProcess = try bench.vitrine("translate", "pid:\(pid)", "0xffff800000200000", "0x200000", "--json")
            .json()
        func places(_ report: [String: Any]) -> [[String]] {
            (report["translations"] as? [[String: Any]] ?? []).map { way in
                ["gpa", "hva", "hpa"].map { way[$0] as? String ?? "none" }
            }
        }
        #expect(places(byName) == places(byProcess))
        #expect(places(byName).count == 2)
        let slots = try bench.vitrine("ept", "plain", "--json", "--view", "summary").json()
        #expect((slots["slots"] as? [[String: Any]])?.compactMap { $0["name"] as? String }.contains("arena") == true)
    }

    @Test func computedViewAgreesWithTranslate() throws {
        let bench = try Bench()
        try bench.start("plain", ["--memory", "128M"])
        let report = try bench.vitrine("ept", "plain", "--source", "computed", "--json").json()
        #expect(report["schema"] as? String == "vitrine.ept/1")
        #expect(report["format"] as? String == "computed")
        let mappings = try #require(report["mappings"] as? [[String: Any]])
        #expect(!mappings.isEmpty)
        let ways = try bench.vitrine("translate", "plain", "0xffff800000200000", "--json").json()
        let way = try #require((ways["translations"] as? [[String: Any]])?.first)
        func number(_ value: Any?) -> UInt64 { UInt64((value as? String ?? "").dropFirst(2), radix: 16) ?? 0 }
        let gpa = number(way["gpa"])
        let mapping = try #require(
            mappings.first { gpa >= number($0["gpa"]) && gpa - number($0["gpa"]) < ($0["size"] as? UInt64 ?? 0) })
        #expect(number(mapping["hva"]) + gpa - number(mapping["gpa"]) == number(way["hva"]))
        if report["framesVisible"] as? Bool == true {
            #expect(number(mapping["hpa"]) + gpa - number(mapping["gpa"]) == number(way["hpa"]))
        }
    }

    @Test func targetsThatCannotBe() throws {
        let bench = try Bench()
        #expect(try bench.vitrine("ept", "pid:0").status == 2)
        #expect(try bench.vitrine("ept", "pid:x").status == 2)
        #expect(try bench.vitrine("ept", "pid:1#y").status == 2)
        #expect(try bench.vitrine("ept", "nobody").status == 3)
        #expect(try bench.vitrine("ept", "nobody", "--source", "guess").status == 2)
        guard Self.obstacle == nil else { return }
        let none = try bench.vitrine("ept", "pid:\(getppid())")
        #expect(none.status == 3)
        #expect(none.errors.contains("holds no KVM VM"))
        #expect(try bench.vitrine("pages", "pid:999999999").status == 3)
    }
}
