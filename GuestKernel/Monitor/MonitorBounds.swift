// The monitor's commands about where the parts of a process lie.

/// Commands about bounds; they are about a process after `in PROGRAM`.
enum MonitorBounds {
    /// `bounds`: one line.
    static func show(_ out: inout TextWriter) -> StaticString? {
        let bounds = AddressSpace.current.pointee.bounds
        guard bounds.breakStart != 0 else { return "nothing here has bounds; try in PROGRAM bounds" }
        field(&out, "code=", bounds.codeStart)
        field(&out, " code-end=", bounds.codeEnd)
        field(&out, " data=", bounds.dataStart)
        field(&out, " data-end=", bounds.dataEnd)
        field(&out, " break-start=", bounds.breakStart)
        field(&out, " break=", bounds.breakEnd)
        field(&out, " mapping-top=", bounds.mappingTop)
        field(&out, " stack-lowest=", bounds.stackLowest)
        field(&out, " stack-end=", bounds.stackEnd)
        field(&out, " stack-pointer=", bounds.stackPointer)
        field(&out, " arguments=", bounds.argumentsStart)
        field(&out, " environment=", bounds.argumentsEnd)
        field(&out, " environment-end=", bounds.environmentEnd)
        if let seed = LinuxStart.seed { field(&out, " seed=", seed) }
        out.newline()
        return nil
    }

    /// `brk [VA]`: sets the break, or asks for it.
    static func setBreak(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        let space = AddressSpace.current
        guard space.pointee.bounds.breakStart != 0 else { return "nothing here has a break; try in PROGRAM brk" }
        var wanted: UInt64 = 0
        if let word = line.word() {
            guard let value = line.number(word), line.word() == nil else { return "usage: brk [VA]" }
            wanted = value
        }
        field(&out, "break=", space.pointee.setBreak(wanted))
        out.newline()
        return nil
    }

    private static func field(_ out: inout TextWriter, _ name: StaticString, _ value: UInt64) {
        out.text(name)
        out.hex(value)
    }
}
