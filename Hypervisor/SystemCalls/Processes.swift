// Other programs: replacing this one, and starting one beside it.

import CSystem
import Glibc

/// A process that this one started.
public struct ChildProcess: Sendable {
    /// Its process id.
    public let pid: Int32

    /// Starts a program (posix_spawn(3)) with standard input at /dev/null, output and error as well or shared with this process,
    /// and `kept` under its own number.
    ///
    /// - Parameters:
    ///   - path: the program's file.
    ///   - arguments: its arguments, the name it is called by first.
    ///   - kept: a descriptor the program inherits besides.
    ///   - sharesOutput: whether it writes where this process writes.
    public init(
        path: String, arguments: [String], keeping kept: borrowing FileDescriptor, sharesOutput: Bool = false
    ) throws(Errno) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        if !sharesOutput {
            posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
            posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        }
        // What this process inherited is not for the program: whoever waits for the end of such a pipe or socket would wait
        // for the program as well. A kernel before 5.11 cannot do it; then it inherits as always.
        _ = csystem_close_on_exec_from(3)
        // dup2 onto itself clears close-on-exec (posix_spawn(3)).
        posix_spawn_file_actions_adddup2(&actions, kept.rawValue, kept.rawValue)
        // Signals that this process ignores would be ignored by the program as well.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var defaults = sigset_t()
        sigemptyset(&defaults)
        sigaddset(&defaults, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF))
        var pid: pid_t = 0
        let result = ChildProcess.withCStrings(arguments) {
            posix_spawn(&pid, path, &actions, &attributes, $0, environ)
        }
        guard result == 0 else { throw Errno(result, "start \(path)") }
        self.pid = pid
    }

    /// Waits for its end (waitpid(2)): the exit status, or the signal that ended it.
    public func wait() throws(Errno) -> (status: Int32?, signal: Int32?) {
        var raw: Int32 = 0
        let pid = pid
        try systemCall("waitpid \(pid)") { Files.checked(waitpid(pid, &raw, 0)) }
        let signal = raw & 0x7f
        return signal == 0 ? (raw >> 8 & 0xff, nil) : (nil, signal)
    }

    /// Becomes another program (execv(2)); returns only if that fails.
    public static func become(path: String, arguments: [String]) -> Errno {
        _ = Glibc.signal(SIGPIPE, SIG_DFL)
        _ = withCStrings(arguments) { execv(path, $0) }
        return Errno(errno, "start \(path)")
    }

    /// Sends a signal to a process (kill(2)).
    ///
    /// - Returns: false if there is no such process.
    public static func signal(_ pid: Int32, _ number: Int32) throws(Errno) -> Bool {
        do throws(Errno) {
            try systemCall("kill \(pid)") { Files.checked(kill(pid, number)) }
            return true
        } catch {
            if error.code == ESRCH { return false }
            throw error
        }
    }

    private static func withCStrings<R>(
        _ texts: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> R
    ) -> R {
        let pointers = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: texts.count + 1)
        for (index, text) in texts.enumerated() { pointers[index] = strdup(text) }
        pointers[texts.count] = nil
        defer {
            for index in texts.indices { free(pointers[index]) }
            pointers.deallocate()
        }
        return body(UnsafePointer(pointers))
    }
}

/// A process that goes on in the background (daemon(7)), while the one that was started waits for word from it.
public struct Background: ~Copyable {
    private let word: FileDescriptor

    private init(_ word: consuming FileDescriptor) { self.word = word }

    /// Goes on in a new process, in a session of its own. The process that was started does not come back from here: it ends
    /// with status 0 once `begin()` was called, with 1 if the new one ends before. No other thread may run yet.
    public static func enter() throws(Errno) -> Background {
        var ends: [Int32] = [-1, -1]
        try systemCall("pipe") { Files.checked(pipe(&ends)) }
        for end in ends { _ = csystem_fcntl(end, F_SETFD, Int(FD_CLOEXEC)) }
        let pid = try systemCall("fork") { csystem_fork() }
        guard pid == 0 else {
            close(ends[1])
            var byte: UInt8 = 0
            while true {
                let count = read(ends[0], &byte, 1)
                if count < 0 && errno == EINTR { continue }
                _exit(count == 1 ? 0 : 1)
            }
        }
        close(ends[0])
        setsid()
        return Background(FileDescriptor(owning: ends[1]))
    }

    /// Lets go of the terminal and the folder.
    public static func letGo() throws(Errno) {
        try systemCall("chdir /") { Files.checked(chdir("/")) }
        let null = try FileDescriptor(open: "/dev/null", O_RDWR)
        for descriptor in 0...2 as ClosedRange<Int32> {
            try systemCall("dup2") { Files.checked(dup2(null.rawValue, descriptor)) }
        }
    }

    /// Tells the process that was started.
    public consuming func begin() throws(Errno) { try word.writeAll([0]) }
}

/// Two ends of a pipe (pipe2(2)), both close-on-exec.
@frozen public struct Pipe: ~Copyable {
    /// What was written comes out here.
    public let reading: FileDescriptor
    /// What is to be read goes in here.
    public let writing: FileDescriptor

    /// A new pipe.
    public init() throws(Errno) {
        var ends: [Int32] = [-1, -1]
        try systemCall("pipe") { Files.checked(pipe(&ends)) }
        // No thread of a command starts a program in between.
        for end in ends { _ = csystem_fcntl(end, F_SETFD, Int(FD_CLOEXEC)) }
        reading = FileDescriptor(owning: ends[0])
        writing = FileDescriptor(owning: ends[1])
    }

    /// Closes the writing end and gives the reading one away.
    public consuming func takeReading() -> FileDescriptor { reading }
}
