// Starts a command and times it: from just before the spawn to the first byte it prints, and to its end.

import Glibc

/// What one run of a command took.
struct Run {
    /// From the spawn to the first byte on standard output, in seconds; nil if it printed nothing.
    let firstByte: Double?
    /// From the spawn until it was reaped, in seconds.
    let whole: Double
    let status: Int32
    let output: [UInt8]
}

/// CLOCK_MONOTONIC in seconds.
func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// The processor time of this thread in seconds.
func processorTime() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// A child process whose standard output is a pipe.
struct Child {
    let pid: pid_t
    let output: Int32
    let started: Double

    /// Starts `words[0]`; standard input is /dev/null, standard error stays.
    init?(_ words: [String], quiet: Bool = false) {
        var pipes: [Int32] = [0, 0]
        guard pipe(&pipes) == 0 else { return nil }
        for end in pipes { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, pipes[1], 1)
        if quiet { posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0) }
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var child: pid_t = 0
        let begin = now()
        let result = posix_spawnp(&child, words[0], &actions, nil, arguments, environ)
        close(pipes[1])
        guard result == 0 else {
            close(pipes[0])
            return nil
        }
        pid = child
        output = pipes[0]
        started = begin
    }

    /// Reads until the child closes its output, then reaps it.
    func finish() -> Run {
        var first: Double?
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(output, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { break }
            if first == nil { first = now() - started }
            bytes += buffer[..<count]
        }
        close(output)
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        return Run(
            firstByte: first, whole: now() - started, status: status & 0x7f == 0 ? status >> 8 & 0xff : -1,
            output: bytes)
    }
}

/// Runs a command to its end.
func run(_ words: [String], quiet: Bool = false) -> Run? { Child(words, quiet: quiet)?.finish() }

/// Several figures of the same thing.
struct Sample {
    private(set) var values: [Double] = []

    mutating func add(_ value: Double) { values.append(value) }
    var isEmpty: Bool { values.isEmpty }
    var median: Double {
        let sorted = values.sorted()
        return sorted.isEmpty ? .nan : sorted[sorted.count / 2]
    }
    var minimum: Double { values.min() ?? .nan }
}

/// The time from the first byte a command prints to the second.
func timeBetweenBytes(_ words: [String]) -> Double? {
    guard let child = Child(words) else { return nil }
    var byte: UInt8 = 0
    var times: [Double] = []
    while times.count < 2, read(child.output, &byte, 1) == 1 { times.append(now()) }
    _ = child.finish()
    return times.count == 2 ? times[1] - times[0] : nil
}
