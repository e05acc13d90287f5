// What the confinement of a guest's process costs, and what many guests weigh.

import CallLists
import Glibc
import SystemCalls

/// The rows of the group `sandbox`.
///
/// - Parameters:
///   - vitrine: the executable; `monitor`: vitrine-vmm.
///   - firstByte: a guest that prints one byte and powers off; `portLoop`: one that prints two, with 200,000 exits between them.
func sandboxRows(
    vitrine: String, monitor: String, firstByte: String, portLoop: String, repetitions: Int
) -> [Row] {
    var rows: [Row] = []
    for (role, most) in [(ThreadRole.vcpu, 25), (.control, 40), (.transfer, nil), (.watch, nil)] as [(ThreadRole, Int?)]
    {
        let count = AllowedCall.list(of: role).count
        rows.append(
            Row(
                what: "system calls a \(role.rawValue) thread may make", measured: "\(count)",
                goal: most.map { "<= \($0)" } ?? "-", met: most.map { count <= $0 }))
    }
    func words(_ mode: String, _ kernel: String) -> [String] {
        [
            monitor, "--name", "bench-sandbox", "--memory", "64M", "--console", "stdio", "--sandbox", mode, "--kernel",
            kernel,
        ]
    }
    var exits = (on: Sample(), off: Sample())
    for _ in 0..<max(repetitions / 2, 5) {
        guard let on = timeBetweenBytes(words("on", portLoop)), let off = timeBetweenBytes(words("off", portLoop))
        else { stop("port-loop printed nothing") }
        exits.on.add(200_000 / on)
        exits.off.add(200_000 / off)
    }
    let ratio = exits.on.median / exits.off.median
    rows.append(
        Row(
            what: "port-output exits a second, confined", measured: fixed(exits.on.median / 1e3, 1) + " k",
            reference: fixed(exits.off.median / 1e3, 1) + " k --sandbox off", ratio: fixed(ratio, 3), goal: ">= 0.98 x",
            met: ratio >= 0.98))
    var first = (on: Sample(), off: Sample())
    for _ in 0..<repetitions * 2 {
        guard let on = run(words("on", firstByte))?.firstByte, let off = run(words("off", firstByte))?.firstByte
        else { stop("first-byte printed nothing") }
        first.on.add(on)
        first.off.add(off)
    }
    let more = first.on.median - first.off.median
    rows.append(
        Row(
            what: "exec to the guest's first instruction, confined", measured: milliseconds(first.on.median),
            reference: milliseconds(first.off.median) + " --sandbox off", ratio: "+" + milliseconds(more),
            goal: "<= 1 ms more", met: more <= 1e-3))
    rows.append(manyGuests(vitrine: vitrine, count: 50))
    return rows
}

/// That many guests of 64 MiB at once: the most that one of them has beyond its guest's pages; the executable, which all share, counts
/// once.
private func manyGuests(vitrine: String, count: Int) -> Row {
    let names = (0..<count).map { "bench-many-\($0)" }
    defer { for name in names { _ = run([vitrine, "kill", name], quiet: true) } }
    for name in names {
        let words = [vitrine, "run", "--name", name, "--memory", "64M", "--detach", "--wait-ready", "60"]
        guard run(words)?.status == 0 else { stop("guest \(name) does not start") }
    }
    // What the start alone needed is let go of half a second after it.
    usleep(1_000_000)
    let figures = names.compactMap { GuestFigures(name: $0) }
    let sizes = figures.compactMap(\.proportionalBeyondGuest)
    let most = sizes.max() ?? 0
    let resident = figures.compactMap(\.residentBeyondGuest).max() ?? 0
    return Row(
        what: "\(count) guests of 64 MiB, each beyond its pages (Pss)",
        measured: fixed(Double(most) / 1048576) + " MiB",
        reference: fixed(Double(resident) / 1048576) + " MiB with what all share", goal: "<= 4 MiB",
        met: sizes.count == count && most <= 4 << 20)
}
