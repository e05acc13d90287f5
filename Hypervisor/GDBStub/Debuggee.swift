// What a stub debugs.

import Addresses
import GuestMemory

/// What could not be done, in words for the user.
public struct DebuggeeError: Error, CustomStringConvertible, Sendable {
    /// What, and what to do about it.
    public let description: String
    /// An error.
    public init(_ description: String) { self.description = description }
}

/// A place to stop, as GDB asks for it (packets Z0 to Z4).
public struct GDBBreakpoint: Hashable, Sendable {
    /// What happens there.
    public enum Kind: Int, Sendable {
        /// Z0: INT3.
        case software
        /// Z1: a debug register.
        case hardware
        /// Z2: writing.
        case write
        /// Z3: reading.
        case read
        /// Z4: reading or writing.
        case access
    }

    /// What happens there.
    public let kind: Kind
    /// The linear address.
    public let address: UInt64
    /// How many bytes are watched, or the size of the breakpoint's instruction.
    public let length: Int
}

/// What a vCPU does when the guest goes on.
public enum GDBAction: String, Sendable {
    /// It stays where it is.
    case stay
    /// It runs.
    case run
    /// It executes one instruction.
    case step
}

/// A register of the target description.
public struct GDBRegister: Hashable, Sendable {
    /// Its name.
    public let name: String
    /// Its size in bytes.
    public let size: Int

    /// A register.
    public init(name: String, size: Int) {
        self.name = name
        self.size = size
    }
}

/// A guest under a debugger. Everything is called on one thread; the guest stands still unless `go` was called since the last stop.
public protocol Debuggee: AnyObject {
    /// The number of vCPUs, at least 1.
    var vcpuCount: Int { get }
    /// The registers, in the order of `registers(of:)`.
    var registerNames: [GDBRegister] { get }
    /// The values of all registers, each as many bytes as it has, the lowest first.
    func registers(of vcpu: Int) throws(DebuggeeError) -> [[UInt8]]
    /// Writes a register, by its place in `registerNames`.
    func setRegister(_ index: Int, _ bytes: [UInt8], vcpu: Int) throws(DebuggeeError)
    /// Memory at a linear address as a vCPU translates it: as much from the first byte on as can be read, at least one byte.
    func read(_ address: UInt64, count: Int, vcpu: Int) throws(DebuggeeError) -> [UInt8]
    /// Memory at a physical address.
    func readPhysical(_ address: UInt64, count: Int) throws(DebuggeeError) -> [UInt8]
    /// Writes memory at a linear address: all or nothing.
    func write(_ bytes: [UInt8], at address: UInt64, vcpu: Int) throws(DebuggeeError)
    /// Writes memory at a physical address.
    func writePhysical(_ bytes: [UInt8], at address: UInt64) throws(DebuggeeError)
    /// Where to stop from now on. `vcpu` says by whose tables addresses are meant.
    func setBreakpoints(_ breakpoints: [GDBBreakpoint], vcpu: Int) throws(DebuggeeError)
    /// Lets the guest go on.
    func go(_ actions: [GDBAction]) throws(DebuggeeError)
    /// Stops every vCPU; returns when they stand still.
    func stop() throws(DebuggeeError)
    /// Lets go of the guest: it is as it was before the debugger came.
    func detach() throws(DebuggeeError)
    /// Ends the guest.
    func kill() throws(DebuggeeError)
    /// A line about a vCPU, for `info threads`.
    func describe(_ vcpu: Int) -> String
    /// The answer to GDB's command `monitor LINE`.
    func answer(_ line: String) -> String
}

/// Why the guest stopped.
public enum GDBStop: Sendable {
    /// On the user's wish, or somebody else's.
    case interrupted
    /// An instruction was executed.
    case step(vcpu: Int)
    /// A breakpoint.
    case breakpoint(vcpu: Int, isHardware: Bool)
    /// A watchpoint: its address.
    case watch(vcpu: Int, address: UInt64)
    /// The guest crashed or panicked; it can be looked at.
    case crashed
    /// The guest powered off or was ended: there is nothing left.
    case ended
}
