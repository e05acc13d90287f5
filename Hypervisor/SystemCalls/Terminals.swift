// Terminals: raw mode and pseudo-terminals.

import CSystem
import Glibc

/// A terminal whose mode was changed; `restore()` puts it back.
public final class RawTerminal: Sendable {
    private let descriptor: Int32
    private let saved: termios

    /// Switches line editing and echo off, so that every key reaches the reader at once. Keys that send signals
    /// (Ctrl-C) still do, unless `keepsSignals` is false.
    ///
    /// - Returns: nil if the descriptor is no terminal, or one that this process is in the background of.
    public init?(_ descriptor: Int32, keepsSignals: Bool = true) {
        var mode = termios()
        guard isatty(descriptor) == 1, tcgetpgrp(descriptor) == getpgrp(), tcgetattr(descriptor, &mode) == 0 else {
            return nil
        }
        self.descriptor = descriptor
        saved = mode
        mode.c_iflag &= ~tcflag_t(ICRNL | IXON | INLCR | IGNCR)
        mode.c_lflag &= ~tcflag_t(ICANON | ECHO | IEXTEN)
        if !keepsSignals { mode.c_lflag &= ~tcflag_t(ISIG) }
        guard tcsetattr(descriptor, TCSANOW, &mode) == 0 else { return nil }
    }

    /// Puts the terminal back into the mode it had.
    public func restore() {
        var mode = saved
        tcsetattr(descriptor, TCSANOW, &mode)
    }

    deinit { restore() }
}

/// A pseudo-terminal (pty(7)): what is written to one side is read at the other.
public final class PseudoTerminal: Sendable {
    /// The side of the program that plays the terminal; non-blocking.
    public let master: FileDescriptor
    /// The path of the other side.
    public let path: String
    /// Held open so that the master does not hang up while nobody has the other side open.
    private let slave: FileDescriptor

    /// A new pseudo-terminal in raw mode.
    public init() throws(Errno) {
        var first: Int32 = -1
        var second: Int32 = -1
        var name = [CChar](repeating: 0, count: 128)
        try systemCall("openpty") {
            openpty(&first, &second, &name, nil, nil) < 0 ? -Int(errno) : 0
        }
        master = FileDescriptor(owning: first)
        slave = FileDescriptor(owning: second)
        path = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        var mode = termios()
        if tcgetattr(second, &mode) == 0 {
            cfmakeraw(&mode)
            tcsetattr(second, TCSANOW, &mode)
        }
        try master.setCloseOnExecAndNonblocking()
        try systemCall("fcntl F_SETFD") { csystem_fcntl(second, F_SETFD, Int(FD_CLOEXEC)) }
    }
}
