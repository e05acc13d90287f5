// The scheduler's tick: each processor's own timer, in its local APIC (SDM volume 3, section 11.5.4). What its clock is nobody
// says: the first ticks come from the PIT, and between two of them it is measured. From then on the PIT is silent.

/// Timers of the local APICs.
enum TickTimer {
    /// What a tick is in counts of the local APIC's timer; 0: not measured yet, and the PIT ticks for all.
    nonisolated(unsafe) private(set) static var period: UInt32 = 0
    /// Ticks of the PIT since the measurement began.
    nonisolated(unsafe) private static var measured: UInt32 = 0
    /// How many the measurement takes: one that comes late does little to four.
    private static var wanted: UInt32 { 4 }
    /// Fewer counts than this between two ticks are no clock.
    private static var least: UInt32 { 1000 }

    /// A tick of the PIT, on the first processor.
    static func countTick() {
        if measured == 0 {
            LocalAPIC.startTimer(.max, vector: nil)
        } else if measured == wanted {
            let counted = LocalAPIC.timerCount
            if counted != 0, (UInt32.max &- counted) / wanted > least {
                period = (UInt32.max &- counted) / wanted
                InterruptController.mask(0)
                startHere()
            }
        }
        measured &+= 1
    }

    /// From now on this processor has ticks of its own, if they are measured.
    static func startHere() {
        guard period != 0, let cpu = Processor.current, cpu.pointee.has_timer == 0 else { return }
        cpu.pointee.has_timer = 1
        LocalAPIC.startTimer(period, vector: Vector.timer)
    }
}
