// Every layout on /dev/kvm with 1 and 2 vCPUs: it passes its audit, and each rule of it is proved able to fail by a kernel
// that breaks exactly that one.

import Foundation
import Layouts
import TestSupport
import Testing

/// Layouts with rules, the programs that an audit wants to see, their argument, how many rules there are at least, and RAM below 1 GiB.
private let audited = [
    (layout: "osv", programs: ["hello"], argument: "", rules: 39, memory: "64M"),
    (layout: "osc", programs: ["process", "process"], argument: "idle", rules: 39, memory: "64M"),
    (layout: "osc-initial", programs: ["offsets", "offsets"], argument: "", rules: 39, memory: "64M"),
    (layout: "linux", programs: ["linux-process", "linux-process"], argument: "idle", rules: 49, memory: "64M"),
    (layout: "panda", programs: ["panda", "panda"], argument: "idle", rules: 41, memory: "64M"),
    (layout: "resea", programs: [], argument: "idle", rules: 23, memory: "320M"),
    (layout: "courseos", programs: ["process", "process"], argument: "idle", rules: 25, memory: "64M"),
]

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct LayoutAudits {
    /// Starts a guest of a layout, as its audit wants it.
    func start(_ bench: Bench, _ layout: String, breaking rule: String? = nil, memory: String, cpus: Int) throws {
        let row = try #require(audited.first { $0.layout == layout })
        var words = ["--layout", layout, "--memory", memory, "--cpus", "\(cpus)"]
        for program in row.programs { words += ["--program", program] }
        let breaking = rule.map { "break=\($0) " } ?? ""
        try bench.start("g", words + ["--append", "\(breaking)args=\(row.argument)"])
    }

    /// Waits until processes have done what they do first: no root changes any more.
    func settle(_ bench: Bench) throws {
        var before: String?
        try bench.wait("processes that stand still") {
            let now = try bench.exec("g", "stats").first?["root-changes"]
            defer { before = now }
            return now != nil && now == before
        }
    }

    /// The rules of a guest's audit, and which of them failed.
    func audit(_ bench: Bench) throws -> (all: [String], failed: [String], skipped: [String]) {
        let report = try bench.vitrine("audit", "g", "--timeout", "60", "--json", timeout: 600)
        let rules = try #require(try report.json()["rules"] as? [[String: Any]], "\(report.errors)")
        func ids(_ condition: ([String: Any]) -> Bool) -> [String] {
            rules.filter(condition).compactMap { $0["id"] as? String }
        }
        return (ids { _ in true }, ids { $0["passed"] as? Bool != true }, ids { $0["skipped"] as? Bool == true })
    }

    @Test(arguments: audited.map(\.layout), [1, 2]) func soundGuestsPass(layout: String, cpus: Int) throws {
        for memory in [try #require(audited.first { $0.layout == layout }).memory, "5G"] {
            let bench = try Bench()
            try start(bench, layout, memory: memory, cpus: cpus)
            let found = try audit(bench)
            #expect(found.failed == [], "\(memory): \(found.failed)")
            // With RAM above the hole every rule applies.
            #expect(memory != "5G" || found.skipped == [], "\(found.skipped)")
        }
    }

    /// Several rules broken in one guest. Rule i, counted from 1, is broken in guest k if bit k of i is set: no two rules in the
    /// same guests, so where exactly the broken rules fail in each guest, each fails by what breaks it and by nothing else.
    @Test(arguments: [
        // Large pages must come for their copies to be looked at.
        (layout: "linux", apart: ["demand-paging-large"]), (layout: "panda", apart: []),
        // One place in the tables is broken at a time.
        (
            layout: "resea",
            apart: [
                "stage-a-root", "stage-a-leaves", "stage-b-root", "stage-c-root", "now-straight-mapping",
                "now-elsewhere",
                "now-page-tables",
            ]
        ), (layout: "courseos", apart: ["stage-a-root", "stage-a-leaves", "stage-b-root"]),
    ]) func everyRuleCanFailWithOthers(layout: String, apart: [String]) throws {
        let sound = try Bench()
        try start(sound, layout, memory: "5G", cpus: 1)
        let rules = try audit(sound).all
        let least = audited.first { $0.layout == layout }?.rules ?? .max
        #expect(Set(rules).count == rules.count && rules.count >= least, "\(rules)")
        let together = rules.filter { !apart.contains($0) }
        var groups = apart.map { [$0] }
        for bit in 0..<6 {
            groups.append(together.enumerated().filter { ($0.offset + 1) >> bit & 1 == 1 }.map(\.element))
        }
        #expect(together.count < 64)
        for group in groups {
            var failed: [String] = []
            // What a rule provokes in the guest has a time limit, which a busy host may exceed: once more, then.
            for _ in 0..<2 where Set(failed) != Set(group) {
                let bench = try Bench()
                try start(bench, layout, breaking: group.joined(separator: ","), memory: "5G", cpus: 1)
                try settle(bench)
                failed = try audit(bench).failed
            }
            let (missing, surplus) = (Set(group).subtracting(failed), Set(failed).subtracting(group))
            #expect(missing.isEmpty && surplus.isEmpty, "\(group): not failed \(missing), failed besides \(surplus)")
        }
    }

    @Test(arguments: ["osv", "osc", "osc-initial"]) func everyRuleCanFail(layout: String) throws {
        let sound = try Bench()
        try start(sound, layout, memory: "5G", cpus: 1)
        let rules = try audit(sound).all
        #expect(Set(rules).count == rules.count, "two rules with one name")
        #expect(rules.count >= (audited.first { $0.layout == layout }?.rules ?? .max))
        for rule in rules {
            let bench = try Bench()
            try start(bench, layout, breaking: rule, memory: "5G", cpus: 1)
            let failed = try audit(bench).failed
            #expect(failed == [rule], "break=\(rule): \(failed)")
        }
    }

    /// The numbers that the linker was given are those of the plan.
    @Test(arguments: KernelPlan.Name.allCases) func imagesAreLinkedWhereThePlanSays(name: KernelPlan.Name) throws {
        let plan = KernelPlan.of(name)
        let data = try Data(contentsOf: URL(fileURLWithPath: image("vitrine-\(plan.text).elf")))
        func word(_ offset: Int) -> UInt64 {
            data.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self) }
        }
        var loads = 0
        for header in 0..<Int(data[56]) {
            let at = Int(word(32)) + header * 56
            guard data[at] == 1 else { continue }
            let (virtual, physical) = (word(at + 16), word(at + 24))
            #expect(physical >= plan.imageBase && physical + word(at + 40) <= plan.imageLimit)
            // What runs before paging is as the kernel wants it lies at its physical address, in the first segment.
            #expect(virtual &- physical == (loads == 0 ? 0 : plan.imageOffset))
            loads += 1
        }
        #expect(loads == 3)
    }

    @Test(arguments: KernelPlan.Name.allCases) func tooLittleMemoryIsRefused(name: KernelPlan.Name) throws {
        let bench = try Bench()
        let plan = KernelPlan.of(name)
        let least = plan.minimumMemory
        let result = try bench.vitrine(
            "run", "--name", "g", "--layout", "\(plan.text)", "--memory", "\(least - 4096)", "--detach")
        #expect(result.status == 2 && result.errors.contains("at least \(least >> 20)M"), "\(result.errors)")
        try bench.start("g", ["--layout", "\(plan.text)", "--memory", "\(least)"])
        #expect(try bench.exec("g", "stage").first?["stage"] == "R")
    }
}
