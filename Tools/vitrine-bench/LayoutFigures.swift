// What layouts cost, counted in instructions of the guest's kernel: KVM's statistic `insn_emulation` counts them where ring 0 is
// emulated, so these figures hold on any machine. Elsewhere the rows say that nothing was counted.

import Glibc
import Targets

/// Figures of the layouts.
struct LayoutFigures {
    /// The `vitrine` that is measured.
    let vitrine: String
    private(set) var rows: [Row] = []

    /// Layouts with their least RAM in MiB.
    private static let layouts = [
        ("osv", 32), ("osc", 32), ("osc-initial", 32), ("linux", 32), ("resea", 260), ("courseos", 16), ("panda", 32),
    ]

    init(vitrine: String) { self.vitrine = vitrine }

    /// Measures everything.
    mutating func measure() {
        for (layout, memory) in LayoutFigures.layouts { boot(layout, memory) }
        processes()
    }

    private func start(_ name: String, _ layout: String, _ memory: Int, _ more: [String] = []) -> OwnGuest? {
        let words = [
            vitrine, "run", "--name", name, "--layout", layout, "--memory", "\(memory)M", "--detach", "--wait-ready",
            "20",
        ]
        guard let started = run(words + more), started.status == 0 else { stop("the \(layout) guest does not start") }
        return try? OwnGuest(named: name)
    }

    /// Entry to ready at the least RAM.
    private mutating func boot(_ layout: String, _ memory: Int) {
        let name = "bench-\(layout)"
        guard start(name, layout, memory) != nil else { return }
        defer { _ = run([vitrine, "kill", name], quiet: true) }
        guard let figures = GuestFigures(name: name), let seconds = figures.secondsToReady else { return }
        let instructions = figures.instructionsToReady ?? 0
        rows.append(
            count("boot of \(layout), \(memory) MiB, instructions", instructions, of: 1, limit: 250_000))
        rows.append(
            Row(
                what: "boot of \(layout), \(memory) MiB", measured: milliseconds(seconds), goal: "<= 300 ms",
                met: seconds <= 0.3))
    }

    /// A number of instructions for `events` of something.
    private func count(_ what: String, _ instructions: UInt64, of events: UInt64, limit: UInt64) -> Row {
        guard instructions > 0, events > 0 else {
            return Row(what: what, measured: "not counted by this KVM", goal: "<= \(limit)", met: nil)
        }
        let each = instructions / events
        return Row(what: what, measured: "\(each)", goal: "<= \(limit)", met: each <= limit)
    }

    /// Fork, demand paging and switches, in osc.
    private mutating func processes() {
        forks()
        switches()
    }

    private func instructions(_ guest: OwnGuest) -> UInt64 {
        let statistics = (try? guest.statistics(vcpu: 0)) ?? []
        return statistics.first { $0.name == "insn_emulation" }?.values.first ?? 0
    }

    /// The least number of instructions of a command over some tries; each is followed by another that undoes it.
    private func least(_ guest: OwnGuest, _ tries: Int, _ command: (Int) -> (String, undo: String?)) -> UInt64 {
        var least = UInt64.max
        for index in 0..<tries {
            let (line, undo) = command(index)
            let before = instructions(guest)
            guard (try? guest.exec(line, timeout: 20)) != nil else { stop("the guest refuses '\(line)'") }
            least = min(least, instructions(guest) &- before)
            if let undo { _ = try? guest.exec(undo, timeout: 20) }
        }
        return least
    }

    private mutating func forks() {
        let name = "bench-fork"
        guard let guest = start(name, "osc", 64, ["--program", "process", "--append", "args=idle"]) else { return }
        defer { _ = run([vitrine, "kill", name], quiet: true) }
        let large: UInt64 = 0x2000_0100_0000
        _ = try? guest.exec("in 0 map 16777216 rw at 0x200001000000", timeout: 20)
        for page in 0..<8 as Range<UInt64> {
            _ = try? guest.exec("in 0 touch 0x\(String(large + page << 21, radix: 16)) 1", timeout: 20)
        }
        var started = timespec()
        var ended = timespec()
        var child = 0
        var seconds = Double.infinity
        // What a command of the monitor costs by itself is in it.
        let fork = least(guest, 5) { _ in
            child += 1
            return ("fork 0", "kill \(child)")
        }
        for _ in 0..<3 {
            child += 1
            clock_gettime(CLOCK_MONOTONIC, &started)
            _ = try? guest.exec("fork 0", timeout: 20)
            clock_gettime(CLOCK_MONOTONIC, &ended)
            seconds = min(
                seconds,
                Double(ended.tv_sec - started.tv_sec) + Double(ended.tv_nsec - started.tv_nsec) / 1e9)
            _ = try? guest.exec("kill \(child)", timeout: 20)
        }
        rows.append(count("fork with 16 MiB mapped, command and all, instructions", fork, of: 1, limit: 80_000))
        rows.append(
            Row(
                what: "fork with 16 MiB mapped, command and all", measured: milliseconds(seconds), goal: "<= 150 ms",
                met: seconds <= 0.15))

        // The same command on pages that are there, and on pages that are not.
        let pages: UInt64 = 0x2000_0010_0000
        _ = try? guest.exec("in 0 map 65536 rw at 0x200000100000", timeout: 20)
        func touch(_ index: Int) -> (String, undo: String?) {
            ("in 0 touch 0x\(String(pages + UInt64(index) << 12, radix: 16))", nil)
        }
        let first = least(guest, 12, touch)
        let again = least(guest, 12, touch)
        rows.append(count("page on demand, instructions", first &- min(first, again), of: 1, limit: 1500))
    }

    /// Two processes that do nothing but yield to each other.
    private mutating func switches() {
        let name = "bench-switch"
        let programs = ["--program", "process", "--program", "process", "--append", "args=yield"]
        guard let guest = start(name, "osc", 64, programs) else { return }
        defer { _ = run([vitrine, "kill", name], quiet: true) }
        let busy = second(guest)
        guard let quiet = start("bench-quiet", "osc", 64) else { return }
        defer { _ = run([vitrine, "kill", "bench-quiet"], quiet: true) }
        // What ticks of the timer and the two commands cost in a guest where nothing else happens is no switch.
        let idle = second(quiet)
        let ticks = idle.ticks > 0 ? idle.instructions / idle.ticks * busy.ticks : 0
        rows.append(
            count(
                "switch between processes, system call and all, instructions",
                busy.instructions &- min(ticks, busy.instructions), of: busy.changes, limit: 400))
    }

    /// What a second brings: instructions, changes of the root, ticks.
    private func second(_ guest: OwnGuest) -> (instructions: UInt64, changes: UInt64, ticks: UInt64) {
        func numbers() -> (UInt64, UInt64, UInt64) {
            let words = (try? guest.exec("stats", timeout: 20))?.first?.split(separator: " ") ?? []
            func number(_ key: String) -> UInt64 {
                words.first { $0.hasPrefix(key) }.flatMap { UInt64($0.dropFirst(key.utf8.count)) } ?? 0
            }
            return (instructions(guest), number("root-changes="), number("ticks="))
        }
        let before = numbers()
        usleep(1_000_000)
        let after = numbers()
        return (after.0 &- before.0, after.1 &- before.1, after.2 &- before.2)
    }
}
