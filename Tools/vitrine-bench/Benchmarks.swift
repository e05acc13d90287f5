// The measurements.

import Glibc
import GuestImages
import SystemCalls

/// Every measurement, and the rows they make.
struct Benchmarks {
    private let vitrine: String
    private let monitor: String
    private let floorProgram: String
    private let firstByte: String
    private let portLoop: String
    private let touchMillion: String
    private let runtime: String
    private let repetitions: Int
    private let chosen: [String]
    private var rows: [Row] = []

    /// Finds the executables and images; guests of this run live in a folder of their own.
    ///
    /// - Parameter chosen: which groups of figures are wanted; all if empty.
    init(quick: Bool, chosen: [String]) {
        self.chosen = chosen
        guard let folder = GuestImages.executableFolder() else { stop("cannot read /proc/self/exe") }
        vitrine = folder + "/vitrine"
        monitor = folder + "/vitrine-vmm"
        floorProgram = folder + "/vitrine-bench-floor"
        guard let firstByte = GuestImages.path(of: "bench/first-byte.elf"),
            let portLoop = GuestImages.path(of: "bench/port-loop.elf"),
            let touchMillion = GuestImages.path(of: "bench/touch-million.elf")
        else { stop("the guest images of the benchmarks are missing: run swift build -c release") }
        self.firstByte = firstByte
        self.portLoop = portLoop
        self.touchMillion = touchMillion
        var template = Array("/tmp/vitrine-bench-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { stop("cannot make a folder in /tmp") }
        runtime = template.withUnsafeBytes { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        setenv("XDG_RUNTIME_DIR", runtime, 1)
        repetitions = quick ? 5 : 21
    }

    /// Measures everything.
    mutating func measure() {
        if wants("start") { start() }
        if wants("ports") { ports() }
        if wants("guest") { guest() }
        if wants("sandbox") {
            rows += sandboxRows(
                vitrine: vitrine, monitor: monitor, firstByte: firstByte, portLoop: portLoop, repetitions: repetitions)
        }
        if wants("walk") { rows += WalkFigures(floorProgram: floorProgram, rounds: repetitions / 5).measure() }
        if wants("search") { rows += searchRows(floorProgram: floorProgram, rounds: repetitions / 5 + 2) }
        if wants("linux") { rows += linuxRows(vitrine: vitrine, runtime: runtime, repetitions: repetitions) }
        if wants("watch") { rows += watchFigures(vitrine: vitrine, quick: repetitions < 21) }
        if wants("second-stage") {
            rows += secondStageRows(
                vitrine: vitrine, witness: vitrine + "-witness", image: touchMillion, repetitions: repetitions)
        }
        if wants("layouts") {
            var layouts = LayoutFigures(vitrine: vitrine)
            layouts.measure()
            rows += layouts.rows
        }
        if wants("libvirt") { rows += libvirtRows(emulator: vitrine + "-qemu", rounds: max(3, repetitions / 3)) }
        if wants("domains") { rows += domainRows(vitrine: vitrine, rounds: max(3, repetitions / 3)) }
        _ = rmdir(runtime + "/vitrine")
        _ = rmdir(runtime)
    }

    /// The groups of figures, in the order they are measured.
    static let groups = [
        "start", "ports", "guest", "sandbox", "walk", "search", "linux", "watch", "second-stage", "layouts", "libvirt",
        "domains",
    ]

    private func wants(_ group: String) -> Bool { chosen.isEmpty || chosen.contains(group) }

    /// Prints the table; false if a goal was missed.
    func report() -> Bool {
        printRows(rows)
        return !rows.contains { $0.met == false }
    }

    /// From exec to the guest's first instruction, and a whole guest that ends at once.
    private mutating func start() {
        let memory = "64"
        let ours = [
            monitor, "--name", "bench-first", "--memory", memory + "M", "--console", "stdio", "--kernel", firstByte,
        ]
        let floor = [floorProgram, firstByte, memory]
        let theirs = [
            "qemu-system-x86_64", "-M", "microvm", "-accel", "kvm", "-m", memory, "-nodefaults", "-no-user-config",
            "-display", "none",
            "-no-reboot", "-kernel", firstByte, "-serial", "stdio", "-device", "isa-debug-exit",
        ]
        var first = (ours: Sample(), floor: Sample())
        var whole = (ours: Sample(), floor: Sample(), theirs: Sample())
        for _ in 0..<repetitions {
            guard let mine = run(ours), let mineFirst = mine.firstByte, mine.output == Array("!".utf8) else {
                stop("the guest of \(ours.joined(separator: " ")) printed nothing")
            }
            guard let bare = run(floor), let bareFirst = bare.firstByte else { stop("\(floor[0]) does not run") }
            first.ours.add(mineFirst)
            first.floor.add(bareFirst)
            whole.ours.add(mine.whole)
            whole.floor.add(bare.whole)
            if let other = run(theirs, quiet: true), other.firstByte != nil { whole.theirs.add(other.whole) }
        }
        let ratio = first.ours.median / first.floor.median
        rows.append(
            Row(
                what: "exec to the guest's first instruction", measured: milliseconds(first.ours.median),
                reference: milliseconds(first.floor.median) + " C", ratio: fixed(ratio), goal: "<= 5 ms, <= 1.5 x",
                met: first.ours.median <= 5e-3 && ratio <= 1.5))
        if whole.theirs.isEmpty {
            rows.append(
                Row(
                    what: "whole process, guest powers off at once", measured: milliseconds(whole.ours.median),
                    goal: ">= 10 x faster than QEMU (not installed)", met: nil))
        } else {
            let faster = whole.theirs.median / whole.ours.median
            rows.append(
                Row(
                    what: "whole process, guest powers off at once", measured: milliseconds(whole.ours.median),
                    reference: milliseconds(whole.theirs.median) + " QEMU microvm",
                    ratio: fixed(faster, 1) + " x faster",
                    goal: ">= 10 x faster", met: faster >= 10))
        }
        rows.append(
            Row(
                what: "  the same, beside the bare C program", measured: milliseconds(whole.ours.median),
                reference: milliseconds(whole.floor.median) + " C",
                ratio: fixed(whole.ours.median / whole.floor.median), goal: "-", met: nil))
    }

    /// Exits for port output: 200,000 between two bytes on the console.
    private mutating func ports() {
        let exits = 200_000.0
        let ours = [monitor, "--name", "bench-ports", "--memory", "64M", "--console", "stdio", "--kernel", portLoop]
        let floor = [floorProgram, portLoop, "64"]
        var mine = Sample()
        var bare = Sample()
        for _ in 0..<max(repetitions / 3, 3) {
            guard let a = timeBetweenBytes(ours), let b = timeBetweenBytes(floor) else {
                stop("port-loop printed nothing")
            }
            mine.add(exits / a)
            bare.add(exits / b)
        }
        let ratio = mine.median / bare.median
        rows.append(
            Row(
                what: "port-output exits a second", measured: fixed(mine.median / 1e3, 1) + " k",
                reference: fixed(bare.median / 1e3, 1) + " k C", ratio: fixed(ratio), goal: ">= 0.95 x",
                met: ratio >= 0.95)
        )
    }

    /// The osv guest: instructions to ready, memory of its monitor, a translation from outside.
    private mutating func guest() {
        let name = "bench-osv"
        guard
            let started = run([
                vitrine, "run", "--name", name, "--layout", "osv", "--memory", "256M", "--detach", "--wait-ready", "20",
            ]), started.status == 0
        else { stop("the osv guest does not start") }
        defer { _ = run([vitrine, "kill", name], quiet: true) }
        // What the start alone needed is let go of half a second after it.
        usleep(1_000_000)
        guard let guest = GuestFigures(name: name) else { stop("the guest \(name) cannot be asked") }
        if let instructions = guest.instructionsToReady, instructions > 0 {
            rows.append(
                Row(
                    what: "guest instructions, entry to ready, osv, 256 MiB", measured: "\(instructions)",
                    goal: "<= 150000",
                    met: instructions <= 150_000))
        } else {
            rows.append(
                Row(
                    what: "guest instructions, entry to ready", measured: "not counted by this KVM", goal: "<= 150000",
                    met: nil))
        }
        if let time = guest.secondsToReady {
            let emulated = (guest.instructionsToReady ?? 0) > 0
            rows.append(
                Row(
                    what: "entry to ready", measured: milliseconds(time),
                    goal: emulated ? "<= 200 ms (ring 0 emulated)" : "-",
                    met: emulated ? time <= 0.2 : nil))
        }
        if let beyond = guest.residentBeyondGuest {
            rows.append(
                Row(
                    what: "resident beyond the guest's pages", measured: fixed(Double(beyond) / 1048576) + " MiB",
                    goal: "<= 5 MiB", met: beyond <= 5 << 20))
        }
        var translate = Sample()
        var start = Sample()
        for _ in 0..<repetitions {
            if let one = run([vitrine, "translate", name, "0xffff800000200000"]), one.status == 0 {
                translate.add(one.whole)
            }
            if let one = run([vitrine, "--version"]) { start.add(one.whole) }
        }
        rows.append(
            Row(
                what: "vitrine translate, whole command", measured: milliseconds(translate.median),
                reference: milliseconds(start.median) + " --version", ratio: fixed(translate.median / start.median),
                goal: "<= 5 ms", met: !translate.isEmpty && translate.median <= 5e-3))
    }
}
