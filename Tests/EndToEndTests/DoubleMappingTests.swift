// The osv guest on /dev/kvm: one physical page under four addresses, a byte followed through all of them, RAM above the
// hole, and every translation against KVM's own.

import Addresses
import Foundation
import JSON
import Targets
import TestSupport
import Testing

/// A hexadecimal field of a JSON object.
func address(_ object: [String: Any], _ key: String) throws -> UInt64 {
    try #require((object[key] as? String).flatMap { parseHexadecimal($0) }, "no \(key) in \(object)")
}

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct DoubleMapping {
    let bench: Bench

    init() throws { bench = try Bench() }

    /// The translations of these addresses, as `vitrine translate --json` gives them.
    func translate(_ name: String, _ addresses: [UInt64]) throws -> [[String: Any]] {
        let words = ["translate", name, "--json"] + addresses.map { "0x" + String($0, radix: 16) }
        let result = try command(
            Host.binaries.appending(path: "vitrine").path, words, environment: bench.environment)
        try #require(result.status == 0, "\(result.errors)")
        return try #require(try result.json()["translations"] as? [[String: Any]])
    }

    @Test func onePageUnderFourAddresses() throws {
        try bench.start("a", ["--memory", "256M", "--cpus", "2", "--program", "hello", "--program", "allocator"])
        let four = try translate("a", [0xffff_8000_0020_0000, 0xffff_9000_0020_0000, 0xffff_a000_0020_0000, 0x20_0000])
        #expect(four.count == 4)
        for translation in four {
            #expect(try address(translation, "gpa") == 0x20_0000)
            #expect(try address(translation, "hva") == address(four[0], "hva"))
            #expect(translation["page"] as? String == "2M")
            #expect((translation["entries"] as? [Any])?.count == 3)
        }
        let audit = try bench.vitrine("audit", "a", "--layout", "osv", "--timeout", "60", "--json", timeout: 600)
        #expect(audit.status == 0, "\(audit.output)")
        #expect(try audit.json()["passed"] as? Bool == true)
        // Those about tables alone: the same rules, and nothing was asked of the kernel.
        let before = try bench.exec("a", "stats").first?["faults"]
        let tables = try bench.vitrine("audit", "a", "--rules", "tables", "--json")
        #expect(tables.status == 0 && tables.output.contains("\"ruleSet\":\"tables\""))
        let ids = { (report: CommandResult) in
            try (report.json()["rules"] as? [[String: Any]] ?? []).compactMap { $0["id"] as? String }
        }
        #expect(
            try ids(tables).count > 20 && ids(audit).starts(with: ids(tables)) && ids(audit).count > ids(tables).count)
        #expect(try bench.exec("a", "stats").first?["faults"] == before)
        // osv maps everything writable and executable: by design where its own rules are checked too, else a fault.
        let both = try bench.vitrine("audit", "a", "--rules", "all", "--consistent")
        #expect(both.status == 0, "\(both.output)")
        let generic = try bench.vitrine("audit", "a", "--rules", "generic", "--json")
        #expect(generic.status == 1 && generic.output.contains("\"ruleSet\":\"generic\""))
        #expect(
            try Set(brokenRules(generic)) == [
                "W+X, user mode", "kernel half, user mode", "tables, user mode", "leaves, outside memory",
            ])
        let names = try bench.vitrine("pages", "a", "--explain", "--range", "0x200000-0x3fffff")
        #expect(names.lines.contains { $0.hasPrefix("names of layout osv: ") })
        let aliases = try bench.vitrine("aliases", "a", "va:0xffff900000200000")
        #expect(aliases.lines.contains { $0.hasPrefix("0xffff[89a]000_0020_0000") }, "\(aliases.output)")
        let range = try bench.vitrine("aliases", "a", "va:0x200000-0x201fff", "--json", "--limit", "3")
        #expect(try range.json()["count"] as? Int == 4 && range.json()["listed"] as? Int == 3)
        for words in [["--rules", "nonesuch"], ["--timeout", "0"], ["--rules", "layout", "--root", "0x1000"]] {
            #expect(
                try command(
                    Host.binaries.appending(path: "vitrine").path, ["audit", "a"] + words,
                    environment: bench.environment
                ).status == 2)
        }
        let map = try bench.vitrine("map", "a")
        #expect(map.status == 0)
        #expect(map.lines.allSatisfy { $0.count <= 100 })
        for word in ["Core", "main", "page", "mempool"] { #expect(map.output.contains(word)) }
    }

    @Test func aByteIsOneByteEverywhere() throws {
        try bench.start("b", ["--memory", "256M"])
        let block = try #require(try bench.exec("b", "alloc 65536").first)
        let physical = try address(block, "pa")
        let virtual = try address(block, "va")
        #expect(virtual == 0xffff_8000_0000_0000 + physical)
        let offset: UInt64 = 0x1238
        let value: UInt64 = 0x1122_3344_5566_7788
        _ = try bench.exec("b", "touch 0x\(String(virtual + offset, radix: 16)) 0x\(String(value, radix: 16))")

        // The host reads it where the translation says it is, in the monitor's own memory.
        let translation = try translate("b", [virtual + offset])[0]
        let host = try address(translation, "hva")
        let pid = try #require(bench.processes().first)
        let memory = try FileHandle(forUpdating: URL(fileURLWithPath: "/proc/\(pid)/mem"))
        try memory.seek(toOffset: host)
        let bytes = try #require(try memory.read(upToCount: 8))
        #expect(bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) } == value)

        // The guest reads it through page and mempool.
        for base: UInt64 in [0xffff_9000_0000_0000, 0xffff_a000_0000_0000] {
            let read = try #require(try bench.exec("b", "touch 0x\(String(base + physical + offset, radix: 16))").first)
            #expect(try address(read, "value") == value)
        }

        // And what the host writes there, the guest reads.
        try memory.seek(toOffset: host)
        try memory.write(contentsOf: withUnsafeBytes(of: (~value).littleEndian) { Data($0) })
        let read = try #require(try bench.exec("b", "touch 0x\(String(virtual + offset, radix: 16))").first)
        #expect(try address(read, "value") == ~value)
    }

    @Test func ramAboveTheHole() throws {
        try bench.start("big", ["--memory", "6G"])
        let pages = try bench.vitrine("pages", "big", "--json").json()
        let ranges = try #require(pages["ranges"] as? [[String: Any]])
        // 3 GiB lie above 4 GiB, linear in every area.
        for base: UInt64 in [0xffff_8000_0000_0000, 0xffff_9000_0000_0000, 0xffff_a000_0000_0000] {
            for physical: UInt64 in [4 << 30, (7 << 30) - (2 << 20)] {
                let translation = try translate("big", [base + physical])[0]
                #expect(try address(translation, "gpa") == physical)
                #expect(translation["page"] as? String == "2M")
            }
            let range = try #require(try ranges.first { try address($0, "va") == base + (4 << 30) })
            #expect(try address(range, "gpa") == 4 << 30)
            #expect((range["size"] as? NSNumber)?.uint64Value == 3 << 30)
            #expect(range["kind"] as? String == "ram")
        }
        let low = try translate("big", [0xffff_8000_0000_0000 + (3 << 30) - 4096])[0]
        let high = try translate("big", [0xffff_8000_0000_0000 + (4 << 30)])[0]
        #expect(low["slot"] as? Int != high["slot"] as? Int)
        // Untouched RAM costs nothing: the process is far smaller than its guest.
        let pid = try #require(bench.processes().first)
        let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") })
        let kibibytes = try #require(Int(line.split(separator: " ").dropLast().last ?? ""))
        #expect(kibibytes < 64 << 10)
    }

    @Test func everyRangeAgreesWithKVM() throws {
        try bench.start("k", ["--memory", "5G", "--program", "hello", "--program", "allocator"])
        _ = try bench.vitrine("pause", "k")
        let client = try QMPClient(path: bench.runtime.path + "/vitrine/k/qmp.sock", name: "k")
        let ranges = try #require(try bench.vitrine("pages", "k", "--json").json()["ranges"] as? [[String: Any]])
        var compared = 0
        var holes = 0
        for range in ranges {
            let first = try address(range, "va")
            let size = try #require((range["size"] as? NSNumber)?.uint64Value)
            let base = try address(range, "gpa")
            // Both ends, and places in between that are no multiples of anything.
            let offsets =
                [0, size - 1] + (1...6).map { size / 7 * $0 + UInt64.random(in: 0..<4096) }.filter { $0 < size }
            for offset in offsets {
                let answer = try client.execute(
                    "x-vitrine-translate",
                    [JSONMember("vcpu", 0), JSONMember("va", .hex(first + offset))]
                ).value
                #expect(answer["gpa"]?.address == base + offset, "VA 0x\(String(first + offset, radix: 16))")
                compared += 1
            }
            // What lies just below a range is another's, or nobody's: then KVM says so as well.
            let below = first &- 1
            let isMapped = try ranges.contains {
                let start = try address($0, "va")
                return try below >= start && below - start < #require(($0["size"] as? NSNumber)?.uint64Value)
            }
            if !isMapped {
                let answer = try client.execute(
                    "x-vitrine-translate", [JSONMember("vcpu", 0), JSONMember("va", .hex(below))])
                #expect(answer.value["gpa"]?.address == nil, "VA 0x\(String(below, radix: 16))")
                holes += 1
            }
        }
        #expect(compared > 80 && holes > 5, "\(compared) addresses, \(holes) holes")
    }

    @Test func aTargetThatEndsWhileItIsRead() throws {
        try bench.start("w", ["--memory", "64M"])
        let pid = try #require(bench.processes().first)
        let vitrine = Host.binaries.appending(path: "vitrine").path
        let environment = bench.environment
        DispatchQueue.global().asyncAfter(deadline: .now() + 0.05) { kill(pid, SIGKILL) }
        // Read on until the guest is gone: every command ends by itself, with data or with status 3.
        var status: Int32 = 0
        for _ in 0..<200 where status == 0 {
            let result = try command(vitrine, ["pages", "w", "--view", "entries"], environment: environment)
            status = result.status
            #expect(status == 0 || (status == 3 && result.errors.contains("'w'")), "\(status) \(result.errors)")
        }
        #expect(status == 3)
    }

    @Test func demandPaging() throws {
        try bench.start("d", ["--memory", "128M"])
        let mapping = try #require(try bench.exec("d", "map 8192 rw").first)
        let virtual = try address(mapping, "va")
        let text = "0x" + String(virtual, radix: 16)
        let before = try bench.vitrine("translate", "d", text)
        #expect(before.status == 1)
        #expect(before.output.contains("level") || before.errors.contains("level"))
        _ = try bench.exec("d", "touch \(text) 0x55")
        #expect(try translate("d", [virtual])[0]["page"] as? String == "4K")
        #expect(try bench.vitrine("translate", "d", "0x8000000000000").status == 2)
    }

    @Test func stagesCanBeHeld() throws {
        for (stage, areas) in [("A", 0), ("B", 3), ("C", 3)] {
            try bench.start(stage, ["--memory", "64M", "--stop-at", stage], ready: false)
            var state = ""
            for _ in 0..<100 where !state.contains("paused") {
                state = try bench.vitrine("list").output
                usleep(20000)
            }
            #expect(state.contains("paused"))
            let pages = try bench.vitrine("pages", stage, "--json").json()
            let ranges = try #require(pages["ranges"] as? [[String: Any]])
            let upper = Set(try ranges.map { try address($0, "va") >> 44 }.filter { $0 >= 0xffff8 })
            #expect(upper.count == areas, "stage \(stage): \(upper)")
            let low = try #require(ranges.first)
            #expect(try address(low, "va") == (stage == "C" ? 0x20_0000 : 0))
            #expect(try bench.vitrine("resume", stage).status == 0)
            #expect(try bench.vitrine("kill", stage).status == 0)
        }
    }
}
