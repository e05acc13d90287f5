// The monitor's commands about buffers, in the layout that has them.

/// Commands about buffers; they are about a process after `in PROGRAM`.
enum MonitorBuffers {
    private static var isThere: Bool {
        Plan.current.name == .panda && AddressSpace.current.pointee.bounds.breakStart != 0
    }

    /// `buffer SIZE`: allocates one; its address.
    static func allocate(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard isThere else { return "there are no buffers here; try in PROGRAM buffer, in the layout panda" }
        guard let word = line.word(), let size = line.number(word), line.word() == nil else {
            return "usage: buffer SIZE"
        }
        do throws(MemoryError) {
            let address = try PandaBuffers.allocate(size)
            out.text("va=")
            out.hex(address)
            out.text(" size=")
            out.decimal((size &+ 4095) & ~4095)
            out.newline()
            return nil
        } catch {
            out.text("error: ")
            error.write(to: &out)
            out.newline()
            return ""
        }
    }

    /// `buffer-free VA`: gives one back.
    static func free(_ line: inout MonitorLine) -> StaticString? {
        guard isThere else { return "there are no buffers here; try in PROGRAM buffer-free, in the layout panda" }
        guard let word = line.word(), let address = line.number(word), line.word() == nil else {
            return "usage: buffer-free VA"
        }
        return PandaBuffers.free(address) ? nil : "no buffer begins there"
    }

    /// `buffer-fill VA SIZE VALUE`: the kernel writes by its window; where its first word is.
    static func fill(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard isThere else { return "there are no buffers here; try in PROGRAM buffer-fill, in the layout panda" }
        guard let first = line.word(), let address = line.number(first), let second = line.word(),
            let size = line.number(second), let third = line.word(), let value = line.number(third), line.word() == nil
        else { return "usage: buffer-fill VA SIZE VALUE" }
        guard PandaBuffers.fill(address, size, value) else { return "not a range of one buffer" }
        out.text("va=")
        out.hex(address)
        out.text(" window=")
        out.hex(PageTable.linear(AddressSpace.current.pointee.physical(of: address) ?? 0))
        out.newline()
        return nil
    }
}
