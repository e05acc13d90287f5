// The four kinds of address that a virtual machine has. Compiled into the host's tools and into the guest kernel.
//
//     GVA  --guest page tables-->  GPA  --memory slot-->  HVA  --host page tables-->  HPA
//
// They never mix by accident. Arithmetic that may overflow is either checked (`advanced(by:)`) or asked for by name
// (`&+`), because most addresses here come from a guest that may be hostile.

/// An address of one kind: a 64-bit number that mixes with no other kind.
public protocol Address: RawRepresentable, Hashable, Comparable, Sendable where RawValue == UInt64 {
    /// The address with this number.
    init(_ rawValue: UInt64)
    /// The address as a number.
    var rawValue: UInt64 { get }
}

extension Address {
    /// The address with this number.
    @inlinable public init(rawValue: UInt64) { self.init(rawValue) }

    /// By number.
    @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    /// The address `offset` bytes further up, or nil past the end of the address space.
    @inlinable public func advanced(by offset: UInt64) -> Self? {
        let (sum, overflow) = rawValue.addingReportingOverflow(offset)
        return overflow ? nil : Self(sum)
    }

    /// The address `offset` bytes further up, modulo 2^64.
    @inlinable public static func &+ (address: Self, offset: UInt64) -> Self { Self(address.rawValue &+ offset) }

    /// The distance from `b` up to `a` in bytes, modulo 2^64.
    @inlinable public static func &- (a: Self, b: Self) -> UInt64 { a.rawValue &- b.rawValue }

    /// The address rounded down to a multiple of `size`, a power of two.
    @inlinable public func alignedDown(to size: UInt64) -> Self { Self(rawValue & ~(size &- 1)) }

    /// Whether the address is a multiple of `size`, a power of two.
    @inlinable public func isAligned(to size: UInt64) -> Bool { rawValue & (size &- 1) == 0 }
}

/// A guest virtual address: what the guest's instructions use.
@frozen public struct GVA: Address {
    /// The address as a number.
    public let rawValue: UInt64
    /// The address with this number.
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// A guest physical address: what the guest's page tables hold.
@frozen public struct GPA: Address {
    /// The address as a number.
    public let rawValue: UInt64
    /// The address with this number.
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// A host virtual address in the process that runs the guest.
@frozen public struct HVA: Address {
    /// The address as a number.
    public let rawValue: UInt64
    /// The address with this number.
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// A host physical address: where the byte really is.
@frozen public struct HPA: Address {
    /// The address as a number.
    public let rawValue: UInt64
    /// The address with this number.
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }
}
