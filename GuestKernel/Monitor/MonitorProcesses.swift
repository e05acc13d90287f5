// The monitor's commands about processes: in one's address space, forked and ended from outside.

/// Commands about processes.
enum MonitorProcesses {
    /// `in PROGRAM COMMAND...`: the command as in that program's address space.
    static func inside(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard let number = program(&line) else { return "usage: in PROGRAM COMMAND..." }
        guard Programs.program(number).state == .running else { return "that program does not run" }
        guard let space = Programs.program(number).space else { return MonitorCommands.run(&line, &out) }
        guard let thread = Thread.current else { return "no thread" }
        // Meanwhile it cannot end, nor its address space go.
        Thread.hold(program: Int32(truncatingIfNeeded: number))
        defer { Thread.letGo(program: Int32(truncatingIfNeeded: number)) }
        let own = thread.pointee.space
        Spaces.use(UnsafeMutableRawPointer(space), by: thread)
        defer { Spaces.use(own, by: thread) }
        return MonitorCommands.run(&line, &out)
    }

    /// `fork PROGRAM`: as if it had called fork.
    static func fork(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard let number = program(&line), line.word() == nil else { return "usage: fork PROGRAM" }
        do throws(ProgramError) {
            let child = try Programs.fork(from: number)
            out.text("program=")
            out.decimal(UInt64(child))
            out.text(" parent=")
            out.decimal(UInt64(number))
            out.newline()
            return nil
        } catch {
            return Programs.refusal(error, &out)
        }
    }

    /// `kill PROGRAM [STATUS]`: the program ends.
    static func kill(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard let number = program(&line) else { return "usage: kill PROGRAM [STATUS]" }
        var status: UInt64 = 0
        if let word = line.word() {
            guard let value = line.number(word) else { return "usage: kill PROGRAM [STATUS]" }
            status = value
        }
        guard line.word() == nil else { return "too many words" }
        return Programs.end(number, .exited, Int64(bitPattern: status)) ? nil : "that program does not run"
    }

    private static func program(_ line: inout MonitorLine) -> Int? {
        guard let word = line.word(), let number = line.number(word), number < UInt64(Programs.capacity) else {
            return nil
        }
        return Int(number)
    }
}
