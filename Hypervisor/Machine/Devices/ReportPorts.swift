// The ports by which a guest kernel and the monitor talk to each other (docs/guest-contract.md). One port each.

import Layouts
import Synchronization

/// Boot stages, 8 or 32 bits.
final class StagePort: PortDevice {
    func takes(_ offset: UInt16, width: Int) -> Bool { width != 2 }
    func read(_ offset: UInt16, width: Int) -> UInt32? { nil }
    func write(_ offset: UInt16, width: Int, _ value: UInt32) -> DeviceEffect? { .stage(value) }
    func reset() {}
}

/// The kernel's panic code, 32 bits.
final class PanicPort: PortDevice {
    func takes(_ offset: UInt16, width: Int) -> Bool { width == 4 }
    func read(_ offset: UInt16, width: Int) -> UInt32? { nil }
    func write(_ offset: UInt16, width: Int, _ value: UInt32) -> DeviceEffect? { width == 4 ? .panic(value) : nil }
    func reset() {}
}

/// A program's number and status, 32 bits.
final class ProgramPort: PortDevice {
    func takes(_ offset: UInt16, width: Int) -> Bool { width == 4 }
    func read(_ offset: UInt16, width: Int) -> UInt32? { nil }
    func write(_ offset: UInt16, width: Int, _ value: UInt32) -> DeviceEffect? {
        width == 4 ? .programEnded(value) : nil
    }
    func reset() {}
}

/// Reads "VITR", 32 bits.
final class SignaturePort: PortDevice {
    func takes(_ offset: UInt16, width: Int) -> Bool { width == 4 }
    func read(_ offset: UInt16, width: Int) -> UInt32? { width == 4 ? Contract.signature : nil }
    func write(_ offset: UInt16, width: Int, _ value: UInt32) -> DeviceEffect? { nil }
    func reset() {}
}

/// Requests to the guest, 8 bits, cleared by reading; announced by an edge on `Contract.requestIRQ`.
final class RequestPort: PortDevice {
    private let pending = Atomic<UInt8>(0)
    private let pulse: @Sendable () -> Void

    /// `pulse` raises and lowers the interrupt line.
    init(pulse: @escaping @Sendable () -> Void) { self.pulse = pulse }

    /// Adds a request (`Contract.requestPowerOff`) and tells the guest.
    func post(_ request: UInt8) {
        pending.bitwiseOr(request, ordering: .sequentiallyConsistent)
        pulse()
    }

    /// Tells the guest again of what it has not read: an edge is lost on a kernel that does not listen yet.
    func remind() {
        if waiting != 0 { pulse() }
    }

    /// Requests that the guest has not read.
    var waiting: UInt8 { pending.load(ordering: .sequentiallyConsistent) }

    /// Holds these requests; the guest was told already.
    func restore(_ requests: UInt8) { pending.store(requests, ordering: .sequentiallyConsistent) }

    func takes(_ offset: UInt16, width: Int) -> Bool { width == 1 }
    func read(_ offset: UInt16, width: Int) -> UInt32? {
        width == 1 ? UInt32(pending.exchange(0, ordering: .sequentiallyConsistent)) : nil
    }
    func write(_ offset: UInt16, width: Int, _ value: UInt32) -> DeviceEffect? { nil }
    func reset() { pending.store(0, ordering: .sequentiallyConsistent) }
}
