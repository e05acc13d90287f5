// Linux's system calls about files. There are three: standard input, which is at its end, and the console as output and as
// errors.

/// Serves calls about files; nil: not one of them.
enum LinuxFiles {
    /// Of one call no more bytes than this are taken.
    private static var limit: UInt64 { Services.writeLimit }
    /// The most pieces of writev: UIO_MAXIOV.
    private static var pieceLimit: UInt64 { 1024 }

    static func handle(_ call: LinuxCalls.Call) -> Int64? {
        let isOpen = call.first <= 2
        switch call.number {
        case 0: return isOpen ? 0 : LinuxCalls.Failure.badFile  // read: the end of the input
        case 1:
            return call.first == 1 || call.first == 2
                ? write(call, call.second, call.third) : LinuxCalls.Failure.badFile
        case 3: return isOpen ? 0 : LinuxCalls.Failure.badFile  // close
        case 5: return isOpen ? status(call, call.second) : LinuxCalls.Failure.badFile  // fstat
        case 8: return isOpen ? LinuxCalls.Failure.noSeek : LinuxCalls.Failure.badFile  // lseek
        case 16: return isOpen ? control(call) : LinuxCalls.Failure.badFile  // ioctl
        case 20: return call.first == 1 || call.first == 2 ? writePieces(call) : LinuxCalls.Failure.badFile
        case 72: return isOpen ? flags(call) : LinuxCalls.Failure.badFile  // fcntl
        case 79: return currentFolder(call)
        case 89: return readLink(call, call.first, call.second, call.third)
        case 267: return readLink(call, call.second, call.third, call.fourth)
        // There are no other files: open, stat, lstat, access, openat, faccessat, faccessat2.
        case 2, 4, 6, 21, 257, 269, 439: return LinuxCalls.Failure.noEntry
        case 262:  // newfstatat, with AT_EMPTY_PATH: fstat
            let isFile = call.fourth & 0x1000 != 0 && UserMemory.isText(call.second, "", call: call.number)
            return isFile && isOpen ? status(call, call.third) : LinuxCalls.Failure.noEntry
        default: return nil
        }
    }

    private static func write(_ call: LinuxCalls.Call, _ address: UInt64, _ size: UInt64) -> Int64 {
        let count = size < limit ? size : limit
        UserMemory.require(address, count, .read, call: call.number)
        guard Services.write(address, count) else { Programs.badAddress(address, call: call.number) }
        return Int64(truncatingIfNeeded: count)
    }

    private static func writePieces(_ call: LinuxCalls.Call) -> Int64 {
        guard call.third <= pieceLimit else { return LinuxCalls.Failure.invalid }
        var total: Int64 = 0
        for index in 0..<call.third {
            let piece = call.second &+ 16 &* index
            let address = UserMemory.word(piece, call: call.number)
            let size = UserMemory.word(piece &+ 8, call: call.number)
            let written = write(call, address, size)
            total &+= written
            if UInt64(written) < size { break }
        }
        return total
    }

    /// struct stat of a terminal: /dev/console, character device 5, 1.
    private static func status(_ call: LinuxCalls.Call, _ address: UInt64) -> Int64 {
        UserMemory.clear(address, 144, call: call.number)
        UserMemory.write(address &+ 16, value: UInt64(1), call: call.number)  // st_nlink
        UserMemory.write(address &+ 24, value: UInt32(0o020620), call: call.number)  // st_mode
        UserMemory.write(address &+ 40, value: UInt64(0x501), call: call.number)  // st_rdev
        UserMemory.write(address &+ 56, value: UInt64(1024), call: call.number)  // st_blksize
        return 0
    }

    /// A terminal's settings (all zero) and size.
    private static func control(_ call: LinuxCalls.Call) -> Int64 {
        switch call.second {
        case 0x5401:  // TCGETS
            UserMemory.clear(call.third, 36, call: call.number)
            return 0
        case 0x5413:  // TIOCGWINSZ: 24 rows, 80 columns
            UserMemory.write(call.third, value: UInt64(80 << 16 | 24), call: call.number)
            return 0
        default: return LinuxCalls.Failure.noTerminal
        }
    }

    private static func flags(_ call: LinuxCalls.Call) -> Int64 {
        switch call.second {
        case 1, 2: return 0  // F_GETFD, F_SETFD
        case 3: return 2  // F_GETFL: O_RDWR
        default: return LinuxCalls.Failure.invalid
        }
    }

    private static func currentFolder(_ call: LinuxCalls.Call) -> Int64 {
        guard call.second >= 2 else { return LinuxCalls.Failure.range }
        UserMemory.write(call.first, value: UInt16(0x2f), call: call.number)
        return 2
    }

    /// The one link: /proc/self/exe, to `/` and the program's name.
    private static func readLink(_ call: LinuxCalls.Call, _ path: UInt64, _ target: UInt64, _ size: UInt64) -> Int64 {
        guard UserMemory.isText(path, "/proc/self/exe", call: call.number) else { return LinuxCalls.Failure.noEntry }
        guard size > 0 else { return LinuxCalls.Failure.invalid }
        let number = Int(Thread.current?.pointee.program ?? -1)
        UserMemory.write(target, value: UInt8(0x2f), call: call.number)
        var count: UInt64 = 1
        LinuxStrings(Programs.program(number).name).eachName { name, length in
            let rest = length < size &- 1 ? length : size &- 1
            UserMemory.write(
                target &+ 1, UnsafeRawBufferPointer(start: UnsafeRawPointer(name), count: Int(rest)), call: call.number)
            count &+= rest
        }
        return Int64(bitPattern: count)
    }
}
