// `vitrine console`: this terminal becomes the guest's.

import Glibc
import GuestMemory
import Options
import SystemCalls
import Targets

extension LifecycleVerbs {
    static let console = Verb(
        name: "console", summary: "attach to a guest's console", usage: "TARGET",
        details: """
            Prints the last 64 KiB of output, then what comes. What is typed goes to the guest; Ctrl-] detaches, the guest runs
            on. Without a terminal, input is read to its end, and the command goes on until the guest ends or its reader
            closes.
            """,
        options: [OptionDescription("no-follow", nil, "print what there is and return")],
        examples: [
            ("vitrine console a", "attaches this terminal; Ctrl-] detaches"),
            ("vitrine console a --no-follow", "what the guest has printed last"),
        ]
    ) { arguments, output in
        let isFollowing = !arguments.flag("no-follow")
        let client = try connect(&arguments)
        let reply = try client.execute("x-vitrine-console")
        guard let socket = reply.descriptors.first else { throw TargetError.badAnswer("a console without a socket") }
        guard isFollowing else {
            // The monitor queues the last output before it answers; a second answer comes after that was sent.
            try client.execute("query-status")
            try drain(socket.rawValue, output)
            return .success
        }
        let terminal = RawTerminal(STDIN_FILENO, keepsSignals: false)
        if terminal != nil { complain("attached to '\(client.name)'; Ctrl-] detaches") }
        defer { terminal?.restore() }
        try follow(socket.rawValue, isTerminal: terminal != nil, output)
        return .success
    }

    /// Ctrl-].
    private static let detachKey: UInt8 = 0x1d

    private static func drain(_ socket: Int32, _ output: Output) throws {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = recv(socket, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            guard count > 0 else { break }
            try output.write(bytes: buffer[..<count])
        }
        try output.flush()
    }

    private static func follow(_ socket: Int32, isTerminal: Bool, _ output: Output) throws {
        var buffer = [UInt8](repeating: 0, count: 65536)
        var input: Int32 = STDIN_FILENO
        var unsent: ArraySlice<UInt8> = []
        while true {
            var list = [
                pollfd(fd: socket, events: Int16(POLLIN) | (unsent.isEmpty ? 0 : Int16(POLLOUT)), revents: 0),
                pollfd(fd: unsent.isEmpty ? input : -1, events: Int16(POLLIN), revents: 0),
                // A reader of ours that goes away ends the command.
                pollfd(fd: STDOUT_FILENO, events: 0, revents: 0),
            ]
            try waitForEvents(&list, milliseconds: -1)
            if list[0].revents & Int16(POLLIN | POLLHUP | POLLERR) != 0 {
                let count = recv(socket, &buffer, buffer.count, Int32(MSG_DONTWAIT))
                if count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR) { return }
                if count > 0 {
                    try output.write(bytes: buffer[..<count])
                    try output.flush()
                }
            }
            if list[2].revents & Int16(POLLERR | POLLNVAL) != 0 { throw ClosedPipe() }
            if list[1].revents != 0 {
                let count = read(input, &buffer, buffer.count)
                if count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR) { input = -1 }
                if count > 0 {
                    var typed = buffer[..<count]
                    if isTerminal, let key = typed.firstIndex(of: detachKey) {
                        typed = typed[..<key]
                        _ = send(socket, Array(typed), typed.count, Int32(MSG_NOSIGNAL))
                        try output.flush()
                        return
                    }
                    unsent = typed
                }
            }
            if !unsent.isEmpty {
                let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
                let count = send(socket, Array(unsent), unsent.count, flags)
                if count > 0 { unsent.removeFirst(count) }
                if count < 0 && errno != EAGAIN && errno != EINTR { return }
            }
        }
    }
}
