// `vitrine gdb`: GDB on a guest, and the stub that it talks to.

import GDBStub
import Glibc
import JSON
import KVM
import Monitor
import Options
import SystemCalls
import Targets

extension LifecycleVerbs {
    static let gdb = Verb(
        name: "gdb", summary: "debug a guest's kernel with GDB", usage: "TARGET [options] [-- GDB-ARGUMENTS...]",
        details: """
            Starts GDB with the symbols of the guest's kernel, attached: the guest stands still until GDB lets it go on. vCPU N is
            thread N + 1. Leaving GDB lets the guest run on as it was. 'monitor pages', 'monitor translate VA', 'monitor aliases va:VA',
            'monitor ept' and 'monitor info registers' answer with Vitrine's own verbs; 'maint packet Qqemu.PhyMemMode:1' makes
            addresses physical.

            --listen serves any GDB at an address of this machine, one after the other, until the guest ends; --stdio serves one on
            standard input and output (target remote | vitrine gdb a --stdio).
            """,
        options: [
            OptionDescription("listen", "unix:PATH|tcp:PORT", "no GDB here: listen for one"),
            OptionDescription("stdio", nil, "no GDB here: one is on standard input and output"),
            OptionDescription("wait-guest", "SECONDS", "internal: the guest is about to start", hidden: true),
            OptionDescription("ready-fd", "N", "internal: told when it listens", hidden: true),
        ],
        examples: [
            ("vitrine gdb a", "GDB with the kernel's symbols, attached to guest a"),
            ("vitrine gdb a -- -batch -ex 'info threads' -ex 'bt'", "where each vCPU is, for a script"),
            ("vitrine gdb a --listen tcp:1234", "then, in GDB: target remote localhost:1234"),
        ]
    ) { arguments, _ in
        let name = try arguments.operand("TARGET")
        let rest = arguments.remainingOperands()
        let isStandard = arguments.flag("stdio")
        let address = try arguments.value("listen").map(listenAddress)
        let wait = try arguments.seconds("wait-guest") ?? 0
        let ready = try arguments.number("ready-fd", in: 3...65535).map { Int32($0) }
        try arguments.end()
        guard !(isStandard && address != nil) else { throw UsageError("--stdio and --listen contradict each other") }
        guard isStandard || address != nil else { return try startGDB(name, rest) }
        guard rest.isEmpty else {
            throw UsageError("arguments for GDB, and no GDB to start: leave out --stdio and --listen")
        }
        if let address { return try listen(address, for: name, wait: wait, ready: ready) }
        _ = try serve(name, input: STDIN_FILENO, output: STDOUT_FILENO)
        return .success
    }

    /// The address of --listen and --gdb.
    static func listenAddress(_ text: String) throws -> ListenAddress {
        guard let address = ListenAddress(parsing: text) else {
            throw UsageError("'\(text)': an address is unix:PATH or tcp:PORT (of this machine's loopback)")
        }
        return address
    }

    /// Becomes GDB.
    private static func startGDB(_ name: String, _ more: [String]) throws -> ExitStatus {
        let kernel = try Targets.connect(name).execute("x-vitrine-info").value["kernel"]?.text ?? ""
        guard let gdb = program("gdb") else {
            throw CommandError(
                .unable, "gdb is not in PATH: install it (apt-get install gdb), or use --listen with another one")
        }
        guard let own = ownProgram() else { throw CommandError(.unable, "this program's own path is not known") }
        let target = "target remote | '\(own)' gdb '\(name)' --stdio"
        let words =
            [
                "gdb", "-q", "-iex", "set confirm off", "-iex", "set pagination off",
                // GDB gives two seconds to an answer and then asks again, for which the protocol has no remedy; a busy machine takes longer.
                "-iex", "set remotetimeout 120", kernel, "-ex", target,
            ] + more
        throw CommandError(.unable, ChildProcess.become(path: gdb, arguments: words).description)
    }

    /// A program's path by PATH.
    private static func program(_ name: String) -> String? {
        let search = getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin"
        return search.split(separator: ":").map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }

    /// This program's file.
    static func ownProgram() -> String? {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
    }

    // MARK: The stub

    /// What KVM can do for a debugger here, found out once; nil where this user may not ask it.
    private static let abilities: JSON? = {
        guard let system = try? KVMSystem() else { return nil }
        return DebugAbilities(system).json
    }()

    /// Serves one GDB.
    ///
    /// - Returns: whether the guest has ended.
    private static func serve(_ name: String, input: Int32, output: Int32) throws -> Bool {
        let guest = try Targets.openGuest(name)
        let debuggee = try GuestDebuggee(guest, abilities: abilities) { line in
            DebuggerCommands.answer(line, target: name)
        }
        let session = GDBSession(debuggee)
        session.complain = { complain($0) }
        return try session.serve(input: input, output: output, guest: debuggee)
    }

    private static func listen(_ address: ListenAddress, for name: String, wait: Double, ready: Int32?) throws
        -> ExitStatus
    {
        let listener = try GDBListener(address)
        if let ready {
            tell(ready)
        } else {
            complain("GDB: target remote \(address.text)")
        }
        let client = try connect(name, within: wait)
        // From the first answer on there are events, and nothing else is to be read.
        try client.execute("query-status")
        while true {
            var list = [
                pollfd(fd: listener.socket.rawValue, events: Int16(POLLIN), revents: 0),
                pollfd(fd: client.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            try waitForEvents(&list, milliseconds: -1)
            if list[1].revents != 0, !isThere(client) { return .success }
            if list[0].revents != 0, try serveNext(listener, name) { return .success }
        }
    }

    /// Whether a guest goes on; its events are of no interest here.
    private static func isThere(_ client: QMPClient) -> Bool {
        do {
            while try client.nextEvent(timeout: 0) != nil {}
            return true
        } catch { return false }
    }

    /// Tells whoever started us that we listen.
    private static func tell(_ descriptor: Int32) {
        let pipe = FileDescriptor(owning: descriptor)
        try? pipe.writeAll(Array("ok\n".utf8))
    }

    /// Serves the GDB that waits, if there is one.
    ///
    /// - Returns: whether the guest has ended.
    private static func serveNext(_ listener: GDBListener, _ name: String) throws -> Bool {
        guard let socket = try UnixSocket.accept(listener.socket) else { return false }
        let number = socket.rawValue
        do {
            return try serve(name, input: number, output: number)
        } catch {
            // The next GDB may have more luck.
            complain("\(Failure(error).message ?? "")")
            return false
        }
    }

    /// A connection to a guest that may only be about to start.
    private static func connect(_ name: String, within seconds: Double) throws -> QMPClient {
        let deadline = monotonicNanoseconds() &+ UInt64(seconds * 1e9)
        while monotonicNanoseconds() < deadline {
            if let client = try? Targets.connect(name) { return client }
            sleepThread(milliseconds: 20)
        }
        return try Targets.connect(name)
    }

    /// Starts a stub beside a guest: it listens when this returns.
    static func startStub(_ address: ListenAddress, for name: String) throws {
        guard let own = ownProgram() else { throw CommandError(.unable, "this program's own path is not known") }
        let text: String
        switch address {
        case .unix(let path): text = "unix:\(path)"
        case .loopback(let port): text = "tcp:\(port)"
        }
        let child: ChildProcess
        let answer: String
        do {
            let pipe = try Pipe()
            let words = [
                "vitrine", "gdb", name, "--listen", text, "--wait-guest", "30", "--ready-fd",
                "\(pipe.writing.rawValue)",
            ]
            child = try ChildProcess(path: own, arguments: words, keeping: pipe.writing)
            answer = try readAll(pipe)
        }
        guard answer == "ok\n" else {
            _ = try child.wait()
            throw CommandError(.unable, "--gdb \(text): nothing can listen there (is the path or port in use?)")
        }
        complain("GDB: target remote \(address.text)")
    }
}

/// A socket that waits for GDBs; it goes with its name.
private final class GDBListener {
    let socket: FileDescriptor
    private let address: ListenAddress

    init(_ address: ListenAddress) throws(Errno) {
        self.address = address
        socket = try address.listen()
    }

    deinit { address.remove() }
}
