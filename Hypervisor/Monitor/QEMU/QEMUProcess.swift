// The life of a vitrine-qemu process, from its command line to its exit status.

import Glibc
import GuestMemory
import KVM
import Sandbox
import Synchronization
import SystemCalls

/// The emulator as a process.
public enum QEMUProcess {
    /// What `-version` prints. Managers look for the word QEMU and the number.
    static let version = "QEMU emulator version 7.2.0 (vitrine-qemu 0.1.0)"

    /// The sockets of monitors and of who waits for them to answer: open until the process is gone.
    private static let held = Mutex<[SharedDescriptor]>([])

    /// What `-help` prints.
    public static let help = """
        vitrine-qemu 0.1.0: the emulator that libvirt manages as a QEMU. Its options are QEMU's, so far as this machine has what
        they ask for; what it has not is refused by name. docs/libvirt.md tells how to use it; by hand:

          vitrine-qemu -machine vitrine-osv -accel kvm -m 256 -smp 2 -nographic
          vitrine-qemu -machine vitrine-linux -accel kvm -S -qmp unix:/tmp/qmp.sock,server=on,wait=off -serial pty

          -x-vitrine-program FILE   a program to load, or the name of a built one; may be repeated
          -x-vitrine-stop-at STAGE  pause at a boot stage: entry, A, B, C or ready
        """

    /// The names of QEMU's options that are read, and of those that are accepted and change nothing; without their dash.
    public static let optionNames = (read: QEMUWord.names(read: true), ignored: QEMUWord.names(read: false))

    /// Runs a process with these words after its name.
    ///
    /// - Returns: its exit status: 0, or 1 if it cannot be started, or 5 if the guest crashed.
    public static func run(_ words: [String]) -> Int32 {
        ComplaintStyle.current = ComplaintStyle(program: "vitrine-qemu")
        for word in words {
            switch word {
            case "-version", "--version": return say(version)
            case "-h", "-help", "--help": return say(help)
            default: continue
            }
        }
        let given = openDescriptors().filter(UnixSocket.isListening)
        do throws(MonitorError) {
            var options = try QEMUOptions(words: words)
            options.inheritedDescriptors = inheritedDescriptors(butThoseOf: options)
            ComplaintStyle.current.hasTimestamp = options.hasTimestamp
            return try start(options)
        } catch {
            complain("\(error)")
            awaitManager(at: given)
            return 1
        }
    }

    /// Waits a moment for a manager to connect to the socket that it handed over, and holds the connection until the process is gone:
    /// at its end the manager reads in the log why. Without one it would say that nobody listens.
    private static func awaitManager(at sockets: Set<Int32>) {
        var list = sockets.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        guard !list.isEmpty, (try? waitForEvents(&list, milliseconds: 2000)) ?? 0 > 0 else { return }
        for entry in list where entry.revents != 0 {
            let listener = SharedDescriptor(FileDescriptor(owning: entry.fd))
            held.withLock { held in
                held.append(listener)
                if let connection = try? UnixSocket.accept(listener.descriptor) {
                    held.append(SharedDescriptor(connection))
                }
            }
        }
    }

    /// What is open above standard error.
    private static func openDescriptors() -> Set<Int32> {
        let names = (try? Files.names(in: "/proc/self/fd")) ?? []
        // One of them was the folder itself, and is closed by now.
        return Set(names.compactMap { Int32($0) }.filter { $0 > 2 && fcntl($0, F_GETFD) >= 0 })
    }

    /// What is open above standard error, less what the command line has a use for.
    private static func inheritedDescriptors(butThoseOf options: QEMUOptions) -> Set<Int32> {
        var numbers = openDescriptors()
        for monitor in options.monitors {
            if case .descriptor(let number) = monitor { numbers.remove(number) }
        }
        switch options.run.console {
        case .descriptor(let number), .listening(let number): numbers.remove(number)
        default: break
        }
        return numbers
    }

    private static func say(_ text: String) -> Int32 {
        let bytes = Array(text.utf8) + [10]
        return bytes.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) } == bytes.count ? 0 : 1
    }

    private static func start(_ options: QEMUOptions) throws(MonitorError) -> Int32 {
        let background: Background?
        do throws(Errno) { background = options.isDaemon ? try Background.enter() : nil } catch { throw .call(error) }
        var paths: [String] = []
        defer { for path in paths { try? Files.remove(path) } }
        let listeners: [SharedDescriptor]
        do throws(Errno) { listeners = try listen(options, &paths) } catch { throw .call(error) }
        held.withLock { $0 = listeners }
        return try serve(options, listeners, paths, background)
    }

    /// Opens the monitors' sockets and writes the process id.
    ///
    /// - Parameter paths: gets what is to be removed at the end.
    private static func listen(
        _ options: QEMUOptions, _ paths: inout [String]
    ) throws(Errno) -> [SharedDescriptor] {
        var listeners: [SharedDescriptor] = []
        for monitor in options.monitors {
            switch monitor {
            case .path(let path):
                listeners.append(SharedDescriptor(try UnixSocket.listen(at: path, replacing: true)))
                paths.append(path)
            case .descriptor(let number):
                let socket = FileDescriptor(owning: number)
                try socket.setCloseOnExecAndNonblocking()
                listeners.append(SharedDescriptor(socket))
            }
        }
        if let path = options.pidFile {
            let file = try FileDescriptor(open: path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
            try file.writeAll(Array("\(getpid())\n".utf8))
            paths.append(path)
        }
        return listeners
    }

    private static func serve(
        _ options: QEMUOptions, _ listeners: [SharedDescriptor], _ paths: [String],
        _ background: consuming Background?
    ) throws(MonitorError) -> Int32 {
        if options.isProbe {
            do throws(Errno) {
                let probe = try QEMUProbe(listeners: listeners)
                if options.isDaemon { try Background.letGo() }
                try background?.begin()
                try probe.run()
                return 0
            } catch { throw .call(error) }
        }
        for word in options.ignored { complain("\(word): accepted, and changes nothing here") }
        var reach = paths.map { Reach(Reach.folder(of: $0), .removeFiles) }
        if let folder = options.peekFolder { reach.append(Reach(folder, .writeFiles)) }
        _ = QEMUAnswer.mostVCPUs
        let monitor = try GuestMonitor(options.run, face: .qemu, sockets: listeners, reach: reach) { () throws(Errno) in
            if options.isDaemon { try Background.letGo() }
        }
        monitor.emulator = options
        do throws(Errno) { try background?.begin() } catch { throw .call(error) }
        return monitor.run()
    }
}
