// The note by which debuggers know a CPU: NT_PRSTATUS, struct elf_prstatus of x86-64 (Linux, include/linux/elfcore.h and
// arch/x86/include/asm/user_64.h). QEMU writes one for each CPU, whose "process" is the CPU's number counted from 1.
//
//     offset 0      12        32     112                              328
//            | signal | masks | pid ... | r15...gs: 27 x 8 bytes      | FPU valid |

extension CoreCPU {
    /// The note's type.
    static let statusType: UInt64 = 1

    /// The descriptor of the note.
    ///
    /// - Parameter number: the CPU's, from 0.
    func processStatus(number: Int) -> [UInt8] {
        func selector(_ name: String) -> UInt64 { UInt64(segments.first { $0.name == name }?.selector ?? 0) }
        func base(_ name: String) -> UInt64 { segments.first { $0.name == name }?.base ?? 0 }
        var body = [UInt8](repeating: 0, count: 32)
        body += bytes(UInt32(truncatingIfNeeded: number + 1))
        body += [UInt8](repeating: 0, count: 112 - body.count)
        for name in [
            "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
        ] { body += bytes(self[name]) }
        // orig_rax: no system call is under way.
        body += bytes(UInt64.max)
        body += bytes(self["rip"]) + bytes(selector("cs")) + bytes(self["rflags"]) + bytes(self["rsp"])
        body += bytes(selector("ss")) + bytes(base("fs")) + bytes(base("gs"))
        for name in ["ds", "es", "fs", "gs"] { body += bytes(selector(name)) }
        return body + [UInt8](repeating: 0, count: 8)
    }
}
