// A fault in full, for the console.

/// Prints what is known of a fault.
enum TrapReport {
    private static func name(_ vector: UInt64) -> StaticString {
        switch vector {
        case 0: return "#DE divide error"
        case 1: return "#DB debug exception"
        case 2: return "NMI"
        case 3: return "#BP breakpoint"
        case 4: return "#OF overflow"
        case 5: return "#BR bound range exceeded"
        case 6: return "#UD invalid opcode"
        case 7: return "#NM device not available"
        case 8: return "#DF double fault"
        case 10: return "#TS invalid TSS"
        case 11: return "#NP segment not present"
        case 12: return "#SS stack-segment fault"
        case 13: return "#GP general protection"
        case 14: return "#PF page fault"
        case 16: return "#MF x87 floating-point error"
        case 17: return "#AC alignment check"
        case 18: return "#MC machine check"
        case 19: return "#XM SIMD floating-point exception"
        case 20: return "#VE virtualization exception"
        case 21: return "#CP control protection"
        default: return "reserved exception"
        }
    }

    /// The whole report; `program` is -1 for the kernel. Nothing here can fault: tables are followed in RAM only.
    static func print(_ frame: TrapFrame, address: UInt64, title: StaticString, program: Int32) {
        if program >= 0 {
            Console.print { body(&$0, frame.pointee, address, title, program) }
        } else {
            Console.printRegardless { body(&$0, frame.pointee, address, title, program) }
        }
    }

    private static func body(
        _ out: inout TextWriter, _ frame: trap_frame, _ address: UInt64, _ title: StaticString, _ program: Int32
    ) {
        out.text("\n")
        out.text(title)
        if program >= 0 {
            out.text(": program ")
            out.decimal(UInt64(UInt32(bitPattern: program)))
        }
        out.text(": ")
        out.text(name(frame.vector))
        out.text(", error code ")
        out.hex(frame.error)
        if frame.vector == 14 {
            pageFaultCode(&out, frame.error)
        } else {
            selectorCode(&out, frame.vector, frame.error)
        }
        out.text(", ring ")
        out.decimal(frame.cs & 3)
        out.text(", cpu ")
        out.decimal(UInt64(Processor.current?.pointee.number ?? 0))
        out.newline()
        if frame.vector == 14, let reason = AddressSpace.lastError {
            out.text("  not served: ")
            reason.write(to: &out)
            out.newline()
        }
        register(&out, "rip", frame.rip)
        register(&out, "cs ", frame.cs)
        register(&out, "rfl", frame.rflags)
        out.newline()
        register(&out, "rsp", frame.rsp)
        register(&out, "ss ", frame.ss)
        register(&out, "cr2", address)
        out.newline()
        register(&out, "rax", frame.rax)
        register(&out, "rbx", frame.rbx)
        register(&out, "rcx", frame.rcx)
        out.newline()
        register(&out, "rdx", frame.rdx)
        register(&out, "rsi", frame.rsi)
        register(&out, "rdi", frame.rdi)
        out.newline()
        register(&out, "rbp", frame.rbp)
        register(&out, "r8 ", frame.r8)
        register(&out, "r9 ", frame.r9)
        out.newline()
        register(&out, "r10", frame.r10)
        register(&out, "r11", frame.r11)
        register(&out, "r12", frame.r12)
        out.newline()
        register(&out, "r13", frame.r13)
        register(&out, "r14", frame.r14)
        register(&out, "r15", frame.r15)
        out.newline()
        register(&out, "cr0", read_cr0())
        register(&out, "cr3", read_cr3())
        register(&out, "cr4", read_cr4())
        out.newline()
        walk(&out, "rip", frame.rip)
        if frame.vector == 14 { walk(&out, "cr2", address) }
    }

    private static func register(_ out: inout TextWriter, _ name: StaticString, _ value: UInt64) {
        out.text("  ")
        out.text(name)
        out.byte(0x20)
        out.hex16(value)
    }

    /// SDM volume 3, figure 4-12.
    private static func pageFaultCode(_ out: inout TextWriter, _ code: UInt64) {
        out.text(code & 1 != 0 ? " (protection" : " (not present")
        out.text(code & 16 != 0 ? ", fetch" : code & 2 != 0 ? ", write" : ", read")
        out.text(code & 4 != 0 ? ", user" : ", supervisor")
        if code & 8 != 0 { out.text(", reserved bit") }
        out.text(")")
    }

    /// SDM volume 3, figure 6-7.
    private static func selectorCode(_ out: inout TextWriter, _ vector: UInt64, _ code: UInt64) {
        guard code != 0, vector >= 10, vector <= 13 else { return }
        out.text(code & 2 != 0 ? " (IDT" : code & 4 != 0 ? " (LDT" : " (GDT")
        out.text(" entry ")
        out.decimal(code &>> 3 & 0x1fff)
        out.text(code & 1 != 0 ? ", external)" : ")")
    }

    /// Every table entry on the way to an address.
    private static func walk(_ out: inout TextWriter, _ name: StaticString, _ address: UInt64) {
        out.text("  walk of ")
        out.text(name)
        out.byte(0x20)
        out.hex(address)
        guard (Int64(bitPattern: address) &<< 16) &>> 16 == Int64(bitPattern: address) else {
            out.text(": not canonical\n")
            return
        }
        out.newline()
        var table = read_cr3() & PageTable.addressMask
        var level: UInt64 = 4
        while level > 0 {
            let at = table &+ 8 &* PageTable.index(address, level: level)
            guard PhysicalPages.isReady, PhysicalPages.isManaged(at) else {
                out.text("    table outside RAM\n")
                return
            }
            let value = PageTable.read(PageTable.linear(at))
            out.text("    level ")
            out.decimal(level)
            out.text(" at ")
            out.hex(at)
            out.text(": ")
            out.hex(value)
            if value & PageTable.present == 0 {
                out.text(" not present\n")
                return
            }
            out.newline()
            if PageTable.isLeaf(value, level: level) && level < 4 { return }
            table = value & PageTable.addressMask
            level &-= 1
        }
    }
}
