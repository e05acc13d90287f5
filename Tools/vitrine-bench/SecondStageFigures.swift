// What looking at the second stage costs, and whether the guest notices: KVM's tables of a guest whose ring 3 touched
// 1,048,576 pages of 4 KiB (Images/bench/touch-million.S), and the computed view of 16 GiB in pages of 4 KiB.

import Addresses
import GuestMemory
import Glibc
import Targets

/// Measures both; the rows for the table.
func secondStageRows(vitrine: String, witness: String, image: String, repetitions: Int) -> [Row] {
    kernelTableRows(vitrine: vitrine, image: image, repetitions: repetitions)
        + computedRows(vitrine: vitrine, witness: witness, repetitions: repetitions)
}

/// What the guest says of itself, at STATUS of Images/bench/touch-million.S. Times are ticks of the time stamp counter.
private struct GuestStatus {
    static let address = GPA(0x30_0000)
    let isDone: Bool
    /// Steps of its loop.
    let steps: UInt64
    let now: UInt64
    /// The sum of the pauses in its loop.
    let paused: UInt64

    init?(_ guest: OwnGuest) {
        guard let page = guest.mapped.page(at: Self.address) else { return nil }
        func word(_ offset: Int) -> UInt64 { page.load(fromByteOffset: offset, as: UInt64.self) }
        isDone = word(0) == 1
        steps = word(8)
        now = word(16)
        paused = word(24)
    }
}

/// How a guest went on over some time.
private struct Progress {
    /// Steps a second.
    let speed: Double
    /// The part of the time that the guest did not run, by its own clock.
    let pausedShare: Double

    init(from first: GuestStatus, to last: GuestStatus, seconds: Double) {
        speed = Double(last.steps &- first.steps) / seconds
        let ticks = last.now &- first.now
        pausedShare = ticks == 0 ? 1 : Double(last.paused &- first.paused) / Double(ticks)
    }
}

private func kernelTableRows(vitrine: String, image: String, repetitions: Int) -> [Row] {
    let name = "bench-million"
    let what = "ept --source kernel, 1,048,576 mappings of 4 KiB"
    guard
        let started = run([
            vitrine, "run", "--name", name, "--layout", "osv", "--memory", "8G", "--kernel", image, "--console", "none",
            "--detach",
        ]), started.status == 0, let guest = try? OwnGuest(named: name)
    else { stop("the guest of \(image) does not start") }
    defer { _ = run([vitrine, "kill", name], quiet: true) }
    let deadline = now() + 180
    while GuestStatus(guest)?.isDone != true {
        guard now() < deadline else { stop("the guest of \(image) did not touch its pages in three minutes") }
        usleep(50_000)
    }
    guard let probe = run([vitrine, "ept", name, "--source", "kernel", "--json"], quiet: true), probe.status == 0 else {
        return [Row(what: what, measured: "not readable here (vitrine doctor)", goal: "<= 0.5 s", met: nil)]
    }
    let leaves = leafCount(probe.output)
    var whole = Sample()
    var speed = (alone: Sample(), watched: Sample())
    var paused = (alone: Sample(), watched: Sample())
    let kicksBefore = kicks(guest)
    for _ in 0..<max(5, repetitions / 2) {
        guard let first = GuestStatus(guest) else { stop("the guest's memory cannot be read") }
        let begin = now()
        guard let result = run([vitrine, "ept", name, "--source", "kernel"]), result.status == 0,
            let second = GuestStatus(guest)
        else { stop("vitrine ept \(name) --source kernel failed") }
        let middle = now()
        whole.add(result.whole)
        // The same time again without anybody looking.
        usleep(useconds_t(result.whole * 1e6))
        guard let third = GuestStatus(guest) else { stop("the guest's memory cannot be read") }
        let watched = Progress(from: first, to: second, seconds: middle - begin)
        let alone = Progress(from: second, to: third, seconds: now() - middle)
        speed.watched.add(watched.speed)
        speed.alone.add(alone.speed)
        paused.watched.add(watched.pausedShare)
        paused.alone.add(alone.pausedShare)
    }
    var kicked: UInt64?
    if let kicksBefore, let kicksAfter = kicks(guest) { kicked = kicksAfter &- kicksBefore }
    let ratio = speed.watched.median / speed.alone.median
    return [
        Row(
            what: what, measured: milliseconds(whole.median), reference: "\(leaves) leaves",
            goal: "<= 0.5 s, >= 1048576 leaves", met: whole.median <= 0.5 && leaves >= 1 << 20),
        Row(
            what: "  the guest's steps a second meanwhile", measured: fixed(speed.watched.median / 1e6, 1) + " M",
            reference: fixed(speed.alone.median / 1e6, 1) + " M alone", ratio: fixed(ratio), goal: "> 0",
            met: speed.watched.minimum > 0),
        Row(
            what: "  its vCPU taken out of the guest by a signal",
            measured: kicked.map { "\($0) times" } ?? "not counted by this KVM",
            reference:
                "paused \(fixed(paused.watched.median * 100, 1)) %, alone \(fixed(paused.alone.median * 100, 1)) %",
            goal: "0", met: kicked.map { $0 == 0 }),
    ]
}

/// The leaves that `vitrine ept --json` counted: all sizes.
private func leafCount(_ json: [UInt8]) -> Int {
    // {"...","tables":N,"leaves":{"4K":N,"2M":N,"1G":N},...}: the one that follows the number of tables.
    let text = String(decoding: json.prefix(1 << 16), as: UTF8.self)
    guard let tables = text.firstRange(of: "\"tables\":"),
        let start = text[tables.upperBound...].firstRange(of: "\"leaves\":{"),
        let end = text[start.upperBound...].firstIndex(of: "}")
    else { return 0 }
    return text[start.upperBound..<end].split(separator: ",").compactMap { part in
        part.split(separator: ":").last.flatMap { Int($0) }
    }.reduce(0, +)
}

/// Exits of vCPU 0 for a signal, by KVM's statistics: what stopping or asking a vCPU takes.
private func kicks(_ guest: OwnGuest) -> UInt64? {
    ((try? guest.statistics(vcpu: 0)) ?? []).first { $0.name == "signal_exits" }?.values.first
}

/// 16 GiB of slots, every page of them in the process's page tables. It is one GiB of memory, mapped 16 times: as many page
/// table entries as 16 GiB have, on machines that have less.
private func computedRows(vitrine: String, witness: String, repetitions: Int) -> [Row] {
    let what = "ept --source computed, 16 GiB in pages of 4 KiB"
    guard let holder = Child([witness, "hold", "slots=16", "pages=262144", "shared=1", "touch=1"]) else {
        stop("\(witness) does not run")
    }
    defer {
        kill(holder.pid, SIGKILL)
        _ = holder.finish()
    }
    var line: [UInt8] = []
    var byte: UInt8 = 0
    while read(holder.output, &byte, 1) == 1, byte != 10 { line.append(byte) }
    guard String(decoding: line, as: UTF8.self).hasPrefix("ready") else { stop("\(witness) holds no VM") }
    var whole = Sample()
    for _ in 0..<max(5, repetitions / 2) {
        guard let result = run([vitrine, "ept", "pid:\(holder.pid)", "--source", "computed"], quiet: true),
            result.status == 0
        else { return [Row(what: what, measured: "not readable here (vitrine doctor)", goal: "<= 0.3 s", met: nil)] }
        whole.add(result.whole)
    }
    return [Row(what: what, measured: milliseconds(whole.median), goal: "<= 0.3 s", met: whole.median <= 0.3)]
}
