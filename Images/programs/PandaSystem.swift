// panda as a program sees it: what System.swift is for programs of every layout, with its heap, its argument and its buffers.

/// panda's system calls.
struct System {
    /// Prints bytes on the console.
    func write(_ bytes: UnsafePointer<CChar>, count: UInt64) {
        _ = write(at: UInt64(UInt(bitPattern: bytes)), count)
    }

    /// Prints what is at any address: also at a wrong one.
    func write(at address: UInt64, _ count: UInt64) -> Int64 { call(VITRINE_SYS_WRITE, address, count) }

    /// Sets the end of the heap, or asks for it (0); what it is afterwards.
    func setBreak(_ address: UInt64) -> UInt64 { UInt64(bitPattern: call(VITRINE_SYS_BRK, address)) }

    /// A buffer, or nil.
    func allocateBuffer(_ size: UInt64) -> UInt64? {
        let result = call(VITRINE_SYS_BUFFER, size)
        return result == -1 ? nil : UInt64(bitPattern: result)
    }

    /// Gives a buffer back; false if it is none.
    func freeBuffer(_ address: UInt64) -> Bool { call(VITRINE_SYS_BUFFER_FREE, address) == 0 }

    /// Lets the kernel write words that count up from `value` into a buffer.
    func fillBuffer(_ address: UInt64, _ size: UInt64, _ value: UInt64) -> Bool {
        call(VITRINE_SYS_BUFFER_FILL, address, size, value) == 0
    }

    /// The number of this process.
    func processNumber() -> Int64 { call(VITRINE_SYS_GETPID) }

    /// Waits until the process is ended from outside.
    func pause() { _ = call(VITRINE_SYS_PAUSE) }

    /// The argument text, up to a size.
    fileprivate func argument(_ text: UnsafeMutableRawPointer, _ size: UInt64) {
        _ = call(VITRINE_SYS_ARGUMENT, UInt64(UInt(bitPattern: text)), size)
    }

    private func call(
        _ number: vitrine_system_call, _ first: UInt64 = 0, _ second: UInt64 = 0, _ third: UInt64 = 0
    ) -> Int64 {
        vitrine_system_call(UInt64(number.rawValue), first, second, third)
    }
}

/// From `_start`, with nothing: the argument has to be asked for.
@_cdecl("panda_start")
func start() -> Int64 {
    let system = System()
    var text = InlineArray<16, UInt64>(repeating: 0)
    return withUnsafeMutablePointer(to: &text) { pointer in
        system.argument(pointer, 128)
        return program(system, UnsafeRawPointer(pointer).assumingMemoryBound(to: CChar.self))
    }
}
