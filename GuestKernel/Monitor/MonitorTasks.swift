// The monitor's commands about resea's physical map and its vm server.

/// Commands of resea.
enum MonitorTasks {
    /// `areas`: the kernel's image, the bootfs in it, and what the vm server hands out (physical).
    static func areas(_ out: inout TextWriter) {
        MonitorHeap.line(
            &out, "kernel", from: Plan.current.imageOffset &+ Plan.current.imageBase, to: address_of_kernel_end())
        MonitorHeap.line(&out, "bootfs", from: address_of_bootfs_start(), to: address_of_bootfs_end())
        MonitorHeap.line(&out, "pool", from: Resea.poolBase, to: PhysicalPages.top)
    }

    /// `server`: what the vm server was asked, and the first word of the command line that tasks get.
    static func server(_ out: inout TextWriter) -> StaticString? {
        guard Plan.current.name == .resea else { return "this layout has no vm server" }
        out.text("program=")
        out.decimal(UInt64(TaskServer.number))
        out.text(" faults=")
        out.decimal(TaskServer.faults)
        out.text(" pages=")
        out.decimal(TaskServer.pages)
        out.text(" refusals=")
        out.decimal(TaskServer.refusals)
        out.text(" argument=")
        let text = ReseaTasks.argument
        var index = 0
        while index < 4095, text[index] != 0, text[index] != 0x20 {
            out.byte(UInt8(bitPattern: text[index]))
            index &+= 1
        }
        out.newline()
        return nil
    }
}
