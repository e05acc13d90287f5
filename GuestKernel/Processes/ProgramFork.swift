// fork: a second process with the same memory, and a thread that goes on where the first one's called.

extension Programs {
    /// Forks a program that has an address space of its own. `frame` is where the child's thread goes on in ring 3. The
    /// child's number.
    ///
    /// `prepare` is called before the child runs, with its number and in its address space.
    static func fork(
        _ parent: Int, _ frame: trap_frame, of thread: Thread.Pointer, prepare: ((Int) -> Void)? = nil
    ) throws(ProgramError) -> Int {
        guard Plan.current.name != .resea else { throw .tasksDoNotFork }
        guard let space = program(parent).space else { throw .noOwnSpace }
        guard let number = takeNumber() else { throw .tooManyPrograms }
        var child: AddressSpace.Pointer?
        do throws(MemoryError) {
            let made = try Spaces.make()
            child = made
            try space.pointee.fork(into: made, program: Int32(truncatingIfNeeded: number))
            let copy = try Thread.makeRing3(
                name: "program", entry: frame.rip, argument: 0, second: 0, stack: frame.rsp,
                program: Int32(truncatingIfNeeded: number))
            copy.pointee.frame.pointee = frame
            copy.pointee.space = UnsafeMutableRawPointer(made)
            copy.pointee.fs_base = thread.pointee.fs_base
            copy.pointee.gs_base = thread.pointee.gs_base
            if thread == Thread.current {
                save_fpu(copy.pointee.fpu)
            } else {
                copy_words(UInt64(UInt(bitPattern: copy.pointee.fpu)), UInt64(UInt(bitPattern: thread.pointee.fpu)), 64)
            }
            adopt(number, from: parent, made)
            if let prepare { Spaces.inside(made) { prepare(number) } }
            run(number, copy)
            return number
        } catch {
            if let child { Spaces.destroy(child) }
            releaseNumber(number)
            throw .memory(error)
        }
    }

    /// Forks a program from outside: its threads are held meanwhile. The child goes on where the parent was interrupted; if
    /// that was in a system call, the child makes the call itself, as a call that a signal interrupted is made again.
    static func fork(from outside: Int) throws(ProgramError) -> Int {
        guard program(outside).state == .running, let thread = program(outside).thread else {
            throw .notRunning(UInt64(outside))
        }
        let number = Int32(truncatingIfNeeded: outside)
        Thread.hold(program: number)
        defer { Thread.letGo(program: number) }
        guard let frame = Thread.userFrame(thread) else { throw .notRunning(UInt64(outside)) }
        var place = frame.pointee
        // RAX holds the call's number still.
        if frame != thread.pointee.frame { place.rip &-= SystemCall.instructionSize }
        return try fork(outside, place, of: thread)
    }
}
