// What the kernel's monitor and the console say of programs.

extension Programs {
    /// `program 0 hello.elf`
    static func name(_ number: Int, to writer: inout TextWriter) {
        writer.text("program ")
        writer.decimal(UInt64(number))
        let name = program(number).name
        if name != 0 {
            writer.byte(0x20)
            writer.cString(StartInfo.text(at: name))
        }
    }

    /// The monitor's `load MODULE [NAMESPACE]`: the line of the new program, or the error, which is already written: "".
    static func load(module: UInt64, namespace: UInt64?, _ writer: inout TextWriter) -> StaticString? {
        do throws(ProgramError) {
            let number = try start(module: module, namespace: namespace)
            writer.text("program=")
            writer.decimal(UInt64(number))
            writer.text(" base=")
            writer.hex(program(number).base)
            writer.text(" entry=")
            writer.hex(program(number).entry)
            writer.newline()
            return nil
        } catch {
            return refusal(error, &writer)
        }
    }

    /// The error line of a command about programs. The answer "" says that it is written.
    static func refusal(_ error: ProgramError, _ writer: inout TextWriter) -> StaticString {
        writer.text("error: ")
        error.write(to: &writer)
        writer.newline()
        return ""
    }

    /// A line for each program, as the kernel's monitor answers.
    static func list(_ writer: inout TextWriter) {
        for number in 0..<count where program(number).state != .free {
            line(number, &writer)
            writer.newline()
        }
    }

    private static func line(_ number: Int, _ writer: inout TextWriter) {
        let program = program(number)
        writer.text("program=")
        writer.decimal(UInt64(number))
        writer.text(" name=")
        if program.name == 0 {
            writer.byte(0x2d)
        } else {
            writer.cString(StartInfo.text(at: program.name))
        }
        writer.text(" base=")
        writer.hex(program.base)
        writer.text(" state=")
        writer.text(program.state.text)
        writer.text(" status=")
        writer.decimal(signed: program.status)
    }

    /// `ps`: the same, and where each program's tables are.
    static func processes(_ writer: inout TextWriter) {
        for number in 0..<count where program(number).state != .free {
            let program = program(number)
            line(number, &writer)
            writer.text(" parent=")
            writer.decimal(signed: Int64(program.parent))
            writer.text(" threads=")
            writer.decimal(Thread.count(of: Int32(truncatingIfNeeded: number)))
            if program.state == .running, let thread = program.thread {
                Break.separate(thread)
                writer.text(" root=")
                writer.hex(Spaces.of(thread).pointee.root)
            }
            writer.newline()
        }
    }
}

extension ProgramError {
    /// The error in words.
    func write(to writer: inout TextWriter) {
        if case .memory(let error) = self {
            error.write(to: &writer)
            return
        }
        let text = text
        writer.text(text.before)
        guard let number = text.number else { return }
        if text.decimal { writer.decimal(number) } else { writer.hex(number) }
        writer.text(text.after)
    }
}
