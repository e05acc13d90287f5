// One guest and everything around it: the machine, the control socket, the console, and what happens when.
//
//     vCPU threads --EventQueue--> control thread (poll) <--control socket, console, signals
//
// All state but the queue lives on the thread that calls `run()`.

import Glibc
import GuestFolders
import GuestMemory
import JSON
import KVM
import Machine
import Sandbox
import SavedGuests
import SystemCalls

/// One guest: started by `init`, served and ended by `run()`. Both are called on one thread, which blocks SIGINT, SIGTERM
/// and SIGHUP and reads them instead. SIGPIPE must be ignored: a console's reader may go away.
public final class GuestMonitor {
    /// What was asked for.
    public let options: RunOptions
    let machine: Machine
    /// The guest's folder; nil for one that a manager started, which finds it by the sockets it gave.
    let folder: ClaimedFolder?
    let queue: EventQueue
    let server: QMPServer
    let console: ConsoleHub
    let exec: ExecChannel
    let tableWatch = TableWatch()
    let debugger = Debugger()
    let transfer = Transfer()
    let dump = Dump()
    /// What `getfd` brought, by name, with the connection that brought it.
    var descriptors: [String: (descriptor: SharedDescriptor, connection: Int)] = [:]
    /// Whether the machine waits for a guest to fill it (`migrate-incoming`).
    var isAwaitingGuest = false
    /// Whether a guest that cannot be saved or dumped is to go on.
    var wasRunningBeforeTransfer = false
    /// The connection with whose end the guest goes on; nil: none.
    var holder: Int?
    let face: QMPFace
    /// The command line in QEMU's words, if that is where the options come from.
    var emulator: QEMUOptions?
    /// When the guest was started, seconds since 1970.
    let started: UInt64
    var record = GuestRecord()
    /// This process's id.
    let process = getpid()
    /// The confinement of this process; nil: none.
    let sandbox: Sandbox?
    /// What the kernel said of it when it was there.
    let confinement: Confinement?
    /// The files behind the slots, as inspectors get them: opened while files can be opened.
    let readOnlyMemory: [SlotBacking]
    /// When to let go of the code that only the start needed; nil before stage ready, and after.
    var startupCodeDrop: UInt64?
    /// The process's exit status, once it is to end.
    var exitStatus: Int32?
    private let signals: SignalReader?
    private var terminal: RawTerminal?
    private var commands: [String: QMPCommand] = [:]

    /// Makes the guest's folder, its machine and its control socket, and starts the vCPUs.
    ///
    /// - Parameters:
    ///   - face: how the control socket presents itself.
    ///   - sockets: where the control socket listens; nil: in the guest's folder, which only then is made.
    ///   - reach: folders in which something remains to be done by name, besides what the options ask for.
    ///   - ownsProcess: whether the process is the guest's own: SIGINT, SIGTERM and SIGHUP end it, and it is confined as the
    ///     options say.
    ///   - beforeConfinement: does what could not be done afterwards.
    public init(
        _ options: RunOptions, face: QMPFace = .vitrine, sockets: [SharedDescriptor]? = nil, reach: [Reach] = [],
        ownsProcess: Bool = true, beforeConfinement: () throws(Errno) -> Void = {}
    ) throws(MonitorError) {
        self.options = options
        self.face = face
        if ownsProcess { HostThread.shareHeap() }
        // Before any thread is started: each inherits the blocked signals.
        do throws(Errno) {
            signals = ownsProcess ? try SignalReader([SIGINT, SIGTERM, SIGHUP]) : nil
            queue = try EventQueue()
        } catch {
            throw .call(error)
        }
        do throws(GuestFolderError) {
            folder = sockets == nil ? try RuntimeFolder.ofThisUser().guest(options.name).claim() : nil
        } catch {
            throw .folder(error)
        }
        do throws(MonitorError) {
            if options.isDetached, let folder { GuestMonitor.logErrors(to: folder.paths.log) }
            let system = try GuestMonitor.openKVM(options)
            let threads = MachineThreads(vcpus: options.machine.vcpus)
            sandbox =
                ownsProcess && options.sandbox != .off
                ? try GuestMonitor.beginConfinement(
                    options, reach, folder?.paths, opensFiles: options.panicCore != nil || face.isQEMU, threads) : nil
            machine = try GuestMonitor.makeMachine(options, system, threads, queue)
            do throws(Errno) {
                console = try ConsoleHub(port: machine.console, choice: options.console)
                if let sockets {
                    server = QMPServer(listeners: sockets, face: face)
                } else {
                    server = try QMPServer(path: folder?.paths.socket ?? "", face: face)
                }
            } catch {
                throw MonitorError.call(error)
            }
            do throws(MachineError) { readOnlyMemory = try machine.readOnlyDescriptors() } catch {
                throw MonitorError.machine(error)
            }
            exec = ExecChannel(port: machine.monitorPort)
            let queue = queue
            machine.console.onOutput { queue.wake.signal() }
            // The answers are lines.
            machine.monitorPort.onOutput(at: .line) { queue.wake.signal() }
            for port in [machine.console, machine.monitorPort] { port.onInputSpace { queue.wake.signal() } }
            started = wallMicroseconds() / 1_000_000
            let saved: SavedGuest?
            do throws(SavedGuestError) { saved = try options.restoredFile.map(SavedGuest.init) } catch {
                throw MonitorError.saved(error)
            }
            if options.console == .stdio { terminal = RawTerminal(STDIN_FILENO) }
            do throws(Errno) { try beforeConfinement() } catch { throw MonitorError.call(error) }
            let status = sandbox == nil ? nil : Confinement.ownFile()
            if let sandbox { try GuestMonitor.enter(sandbox) }
            do throws(MachineError) { try machine.start() } catch { throw MonitorError.machine(error) }
            // Reading it takes a while, for which no guest has to wait.
            confinement = if let status { Confinement(reading: status) } else { nil }
            isAwaitingGuest = options.isIncoming
            if let saved {
                do throws(SavedGuestError) { try restore(saved) } catch {
                    machine.terminate()
                    throw MonitorError.saved(error)
                }
            }
        } catch {
            folder?.release()
            throw error
        }
        for command in face.commands { commands[command.name] = command }
        if let path = console.terminalPath { complain("the console is at \(path)") }
        if terminal != nil {
            complain("the console is this terminal; Ctrl-C ends the guest")
        }
    }

    /// Serves the guest until it ends.
    ///
    /// - Returns: the exit status of the process: 0, or 5 if the guest crashed and was not to be kept.
    public func run() -> Int32 {
        defer { terminal?.restore() }
        while exitStatus == nil { turn() }
        for answer in exec.reset("the guest has ended") { reply(answer) }
        tableWatch.end()
        transfer.end()
        dump.end()
        console.finish()
        server.drain(milliseconds: 100)
        machine.terminate()
        console.finish()
        console.removeSocket()
        folder?.release()
        return exitStatus ?? 0
    }

    /// Waits for something to happen and handles it.
    private func turn() {
        var list = [
            pollfd(fd: queue.wake.descriptor.rawValue, events: Int16(POLLIN), revents: 0),
            pollfd(fd: signals?.descriptor.rawValue ?? -1, events: Int16(POLLIN), revents: 0),
        ]
        console.addDescriptors(to: &list)
        let consoleEnd = list.count
        server.addDescriptors(to: &list)
        var timeout: Int32 = -1
        if server.hasWork {
            timeout = 0
        } else if let deadline = [exec.deadline, startupCodeDrop].compactMap({ $0 }).min() {
            let now = monotonicNanoseconds()
            timeout = deadline <= now ? 0 : Int32(clamping: (deadline - now) / 1_000_000 + 1)
        }
        do throws(Errno) {
            try waitForEvents(&list, milliseconds: timeout)
        } catch {
            complain("\(error)")
            end(status: 4, reason: "host-error", guest: false)
            return
        }
        if let due = startupCodeDrop, due <= monotonicNanoseconds() {
            dropStartupCode()
            startupCodeDrop = nil
        }
        if list[0].revents != 0 { queue.wake.clear() }
        if list[1].revents != 0, signals?.next() != nil {
            end(status: 0, reason: "host-signal", guest: false)
            return
        }
        handleEvents()
        console.handle(list[2..<consoleEnd])
        // As every command whose reader goes away: it ends quietly.
        if console.isOutputClosed { end(status: 0, reason: "host-console-closed", guest: false) }
        server.handle(list[consoleEnd...]) { (name, arguments, connection) throws(QMPError) in
            try self.run(name, arguments, connection)
        }
        handleTransfer()
        handleDump()
        checkHolder()
        dropDescriptors()
        for answer in exec.pump() { reply(answer) }
        tableWatch.tell(server)
        debugger.check(server, machine)
        server.flush()
    }

    /// Ends the guest.
    func end(status: Int32, reason: String, guest: Bool) {
        guard exitStatus == nil else { return }
        exitStatus = status
        server.broadcast("SHUTDOWN", ["guest": .bool(guest), "reason": .string(reason)])
    }

    func reply(_ answer: ExecAnswer) {
        if let failure = answer.failure {
            server.reply(to: answer.request.connection, .failure(.generic(failure)))
            return
        }
        let value: JSON = [
            "lines": .array(answer.lines.map { .string($0) }), "error": answer.error.map { .string($0) } ?? .null,
        ]
        server.reply(to: answer.request.connection, .success(value))
    }

    private func run(
        _ name: String, _ arguments: JSON?, _ connection: QMPConnection
    ) throws(QMPError) -> QMPResult {
        guard let command = commands[name] else { throw .commandNotFound("there is no command '\(name)'") }
        var taken = try QMPArguments(arguments)
        return try command.run(self, &taken, connection)
    }

    /// Opens KVM, if it can have what the options ask for.
    private static func openKVM(_ options: RunOptions) throws(MonitorError) -> KVMSystem {
        let system: KVMSystem
        do throws(KVMError) { system = try KVMSystem() } catch { throw .machine(.kvm(error)) }
        do throws(MachineError) { try Machine.check(options.machine, system) } catch { throw .machine(error) }
        return system
    }

    private static func makeMachine(
        _ options: RunOptions, _ system: KVMSystem, _ threads: MachineThreads, _ queue: EventQueue
    ) throws(MonitorError) -> Machine {
        do throws(MachineError) {
            let isEmpty = options.isIncoming || options.restoredFile != nil
            return try Machine(options.machine, system: system, threads: threads, incoming: isEmpty) { queue.push($0) }
        } catch {
            throw .machine(error)
        }
    }

    private static func logErrors(to path: String) {
        guard let log = try? FileDescriptor(open: path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, mode: 0o600) else {
            return
        }
        dup2(log.rawValue, STDERR_FILENO)
    }
}
