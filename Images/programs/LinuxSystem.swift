// Linux as a program sees it: what System.swift is for programs of this kernel's own interface, by Linux's system calls.

/// Linux's system calls.
struct System {
    /// Prints bytes on the console.
    func write(_ bytes: UnsafePointer<CChar>, count: UInt64) {
        _ = linux_system_call(1, 1, UInt64(UInt(bitPattern: bytes)), count, 0, 0)
    }

    /// Prints what is at any address: also at a wrong one.
    func write(at address: UInt64, _ count: UInt64) -> Int64 { linux_system_call(1, 1, address, count, 0, 0) }

    /// Maps private anonymous memory anywhere; nil on failure.
    func map(_ size: UInt64) -> UnsafeMutableRawPointer? {
        let result = linux_system_call(9, 0, size, 3, 0x22, UInt64.max)
        return result < 0 ? nil : UnsafeMutableRawPointer(bitPattern: Int(result))
    }

    /// Unmaps pages.
    func unmap(_ address: UnsafeMutableRawPointer, _ size: UInt64) -> Bool {
        linux_system_call(11, UInt64(UInt(bitPattern: address)), size, 0, 0, 0) == 0
    }

    /// Lets others run.
    func yield() { _ = linux_system_call(24, 0, 0, 0, 0, 0) }

    /// A second process that goes on here: its number, 0 in itself, negative where it cannot be.
    func fork() -> Int64 { linux_system_call(57, 0, 0, 0, 0, 0) }

    /// The number of this process.
    func processNumber() -> Int64 { linux_system_call(39, 0, 0, 0, 0, 0) }

    /// Waits until a child is over; its exit status, or -1.
    func wait(for process: Int64) -> Int64 {
        var status: UInt32 = 0
        let result = withUnsafeMutablePointer(to: &status) {
            linux_system_call(61, UInt64(bitPattern: process), UInt64(UInt(bitPattern: $0)), 0, 0, 0)
        }
        return result == process && status & 0x7f == 0 ? Int64(status >> 8) : -1
    }

    /// Waits until the process is ended from outside.
    func pause() { _ = linux_system_call(34, 0, 0, 0, 0, 0) }

    /// Ends the process.
    func exit(_ status: Int64) { _ = linux_system_call(231, UInt64(bitPattern: status), 0, 0, 0, 0) }

    /// There are no threads.
    func startThread(_ entry: @convention(c) (UInt64) -> Void, stack: UnsafeMutableRawPointer, _ argument: UInt64)
        -> Bool
    { false }

    /// Ends the one thread there is.
    static func exitThread() { _ = linux_system_call(60, 0, 0, 0, 0, 0) }
}

/// From `_start`: argc, then the pointers to the arguments. What the program gets is all but the first of them with blanks
/// between; they lie behind each other.
@_cdecl("linux_start")
func start(_ stack: UnsafePointer<UInt64>) -> Int64 {
    let count = stack[0]
    guard count > 1, let text = UnsafeMutablePointer<CChar>(bitPattern: UInt(stack[2])) else {
        let empty: CChar = 0
        return withUnsafePointer(to: empty) { program(System(), $0) }
    }
    for index in 2..<Int(count) {
        if let next = UnsafeMutablePointer<CChar>(bitPattern: UInt(stack[index + 1])) { next[-1] = 0x20 }
    }
    return program(System(), text)
}
