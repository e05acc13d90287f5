// The kernel's monitor on COM2: lines in by interrupt, a thread that answers.

/// The line that is being received.
enum MonitorInput {
    static var limit: Int { 255 }
    /// Bytes received and not yet taken.
    nonisolated(unsafe) private static var ring = InlineArray<1024, UInt8>(repeating: 0)
    nonisolated(unsafe) private static var head: UInt32 = 0
    nonisolated(unsafe) private static var tail: UInt32 = 0
    nonisolated(unsafe) fileprivate static var server: Thread.Pointer?

    /// IRQ 3: takes what the port has. What does not fit the ring is lost, as on a wire.
    static func receive() {
        while let byte = SerialPort.monitor.receive() {
            if head &- tail < 1024 {
                ring[Int(head & 1023)] = byte
                head &+= 1
            }
        }
        wakeServer()
    }

    static func wakeServer() {
        if let server { Scheduler.wake(server) }
    }

    /// The next byte; nil after a request to power off. Waits with the thread blocked.
    fileprivate static func next() -> UInt8? {
        interrupts_off()
        while head == tail && !Interrupts.powerOffRequested { Scheduler.block() }
        defer { interrupts_on() }
        if Interrupts.powerOffRequested { return nil }
        let byte = ring[Int(tail & 1023)]
        tail &+= 1
        return byte
    }
}

/// The thread that answers.
enum MonitorServer {
    /// Starts it, above all programs, on the first processor: its interrupts arrive there.
    static func start() throws(MemoryError) {
        let thread = try Thread.make(name: "monitor", entry: address_of_monitor_thread(), affinity: 0, priority: 2)
        thread.pointee.space = UnsafeMutableRawPointer(Spaces.kernel)
        MonitorInput.server = thread
        Scheduler.start(thread)
    }

    fileprivate static func run() -> Never {
        Programs.startModules()
        Stage.report(0x52)  // R
        var line = MonitorLine()
        while true {
            guard let byte = MonitorInput.next() else { Kernel.powerOff() }
            if byte == 0x0a {
                var out = TextWriter(.monitor)
                Break.beforeCommand()
                let error = line.isTooLong ? "line longer than 255 bytes" : MonitorCommands.run(&line, &out)
                if let error {
                    // An empty text: the command has written its error line, with numbers in it.
                    if error.utf8CodeUnitCount > 0 {
                        out.text("error: ")
                        out.text(error)
                        out.newline()
                    }
                } else {
                    out.text("ok\n")
                }
                out.flush()
                line.clear()
            } else {
                line.add(byte)
            }
        }
    }
}

/// Where the monitor's thread begins.
@c(monitor_thread) public func monitorThread() { MonitorServer.run() }
