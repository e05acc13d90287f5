// What `vitrine watch` costs while nothing happens, and how soon it shows what does.

import Glibc
import GuestImages
import GuestMemory
import SystemCalls
import Targets

/// A guest with 1,048,576 mapped pages that sleeps until a byte comes in on its console.
private struct WatchBench {
    let vitrine: String
    let name = "bench-watch"
    let pid: Int32
    /// The guest's console.
    let console: SharedSocket

    /// A socket that is closed with its owner.
    final class SharedSocket {
        let reply: QMPReply
        let number: Int32
        init?(_ reply: QMPReply) {
            guard let socket = reply.descriptors.first else { return nil }
            self.reply = reply
            number = socket.rawValue
        }
    }

    init?(vitrine: String) {
        self.vitrine = vitrine
        guard let image = GuestImages.path(of: "bench/million-pages.elf"),
            let started = run([
                vitrine, "run", "--name", name, "--layout", "osv", "--memory", "1G", "--kernel", image, "--detach",
                "--wait-ready", "20",
            ]), started.status == 0, let guest = try? OwnGuest(named: name),
            let reply = try? guest.client.execute("x-vitrine-console"), let socket = SharedSocket(reply)
        else { return nil }
        pid = guest.pid
        console = socket
    }

    /// Waits until the guest prints a character: `!` when its tables are built, a point after each change.
    func waitFor(_ character: Unicode.Scalar, within seconds: Double) -> Bool {
        let deadline = now() + seconds
        var byte: UInt8 = 0
        while now() < deadline {
            var list = [pollfd(fd: console.number, events: Int16(POLLIN), revents: 0)]
            if poll(&list, 1, 100) > 0, recv(console.number, &byte, 1, Int32(MSG_DONTWAIT)) == 1,
                byte == UInt8(ascii: character)
            {
                return true
            }
        }
        return false
    }

    /// Makes the guest change a page.
    func change() {
        var byte = UInt8(ascii: "x")
        _ = send(console.number, &byte, 1, Int32(MSG_NOSIGNAL))
    }

    /// Nanoseconds of processor time that all threads of some processes have used (/proc/PID/task/TID/schedstat).
    func processorTime(_ processes: [Int32]) -> UInt64 {
        var sum: UInt64 = 0
        for process in processes {
            guard let folder = opendir("/proc/\(process)/task") else { continue }
            defer { closedir(folder) }
            while let entry = readdir(folder) {
                let thread = withUnsafeBytes(of: &entry.pointee.d_name) {
                    String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                }
                guard let bytes = try? Files.contents(of: "/proc/\(process)/task/\(thread)/schedstat", limit: 256)
                else { continue }
                let words = String(decoding: bytes, as: UTF8.self).split(separator: " ")
                sum &+= words.first.flatMap { UInt64($0) } ?? 0
            }
        }
        return sum
    }
}

/// Reads a child's output line by line.
private struct LineReader {
    let descriptor: Int32
    private var pending: [UInt8] = []

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    /// The next line, or nil if none comes within the time.
    mutating func next(within seconds: Double) -> String? {
        let deadline = now() + seconds
        while true {
            if let end = pending.firstIndex(of: 10) {
                defer { pending.removeFirst(end + 1) }
                return String(decoding: pending[..<end], as: UTF8.self)
            }
            var list = [pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)]
            let rest = deadline - now()
            guard rest > 0, poll(&list, 1, Int32(rest * 1000) + 1) > 0 else { return nil }
            var buffer = [UInt8](repeating: 0, count: 65536)
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { return nil }
            pending += buffer[..<count]
        }
    }
}

/// The rows about `vitrine watch`; empty where the guest cannot be had, which is then said on standard error.
func watchFigures(vitrine: String, quick: Bool) -> [Row] {
    guard let bench = WatchBench(vitrine: vitrine) else {
        explain("vitrine-bench: the guest of bench/million-pages.elf does not start")
        return []
    }
    defer { _ = run([vitrine, "kill", bench.name], quiet: true) }
    guard bench.waitFor("!", within: 60), let child = Child([vitrine, "watch", bench.name]) else {
        explain("vitrine-bench: the guest of bench/million-pages.elf does not get ready")
        return []
    }
    var lines = LineReader(child.output)
    defer {
        kill(child.pid, SIGINT)
        _ = child.finish()
    }
    // Two lines about the guest and the heading.
    let heading = (0..<3).compactMap { _ in lines.next(within: 20) }
    guard heading.count == 3, heading[1].hasPrefix("1,049,088 leaves") else {
        explain("vitrine-bench: vitrine watch begins with \(heading)")
        return []
    }
    let seconds = quick ? 3.0 : 12.0
    // What the guest's monitor needs while nobody watches is in it; start-up code is let go of before that.
    usleep(1_500_000)
    let begun = now()
    let before = bench.processorTime([bench.pid, child.pid])
    usleep(UInt32(seconds * 1e6))
    let used = Double(bench.processorTime([bench.pid, child.pid]) &- before) / 1e9
    let share = used / (now() - begun)
    var delays = Sample()
    // The way there and back by itself: how soon the guest's answer on the console comes.
    var answers = Sample()
    for turn in 0..<(quick ? 20 : 100) {
        // Not in step with anything.
        usleep(20_000 + UInt32(turn * 7919 % 15_000))
        let sent = now()
        bench.change()
        guard bench.waitFor(".", within: 5) else {
            explain("vitrine-bench: the guest of bench/million-pages.elf does not answer")
            return []
        }
        answers.add(now() - sent)
        guard let line = lines.next(within: 5), line.contains("~ 0x000000017d005000") else {
            explain("vitrine-bench: vitrine watch does not show the change")
            return []
        }
        delays.add(now() - sent)
    }
    let sorted = delays.values.sorted()
    let nearlyAll = sorted[sorted.count * 9 / 10]
    return [
        Row(
            what: "watch, idle guest with 1,048,576 pages, both processes", measured: fixed(share * 100, 3) + " %",
            reference: "of a core, \(fixed(seconds, 0)) s", goal: "<= 0.1 %", met: share <= 0.001),
        Row(
            what: "console input to the change it makes, shown", measured: milliseconds(delays.median),
            reference: milliseconds(answers.median) + " its answer", ratio: milliseconds(nearlyAll) + " 90 %",
            goal: "<= 10 ms (90 %)", met: nearlyAll <= 0.010),
    ]
}
