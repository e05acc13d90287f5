// The x87 and SSE registers by GDB's names.

import CSystem

extension VCPU {
    /// The bytes of a register of the x87 or SSE state; nil if `name` is none.
    static func fpuBytes(_ name: String, _ fpu: kvm_fpu) -> [UInt8]? {
        var fpu = fpu
        if let (array, index) = place(name) {
            return withUnsafeBytes(of: &fpu) { Array($0[offset(array, index)..<offset(array, index) + size(array)]) }
        }
        let value: UInt64
        switch name {
        case "fctrl": value = UInt64(fpu.fcw)
        case "fstat": value = UInt64(fpu.fsw)
        case "ftag": value = UInt64(fullTag(fpu))
        // In 64-bit mode FXSAVE keeps whole pointers and no selectors (Intel SDM volume 1, 10.5.1).
        case "fiseg", "foseg": value = 0
        case "fioff": value = fpu.last_ip & 0xffff_ffff
        case "fooff": value = fpu.last_dp & 0xffff_ffff
        case "fop": value = UInt64(fpu.last_opcode)
        case "mxcsr": value = UInt64(fpu.mxcsr)
        default: return nil
        }
        return (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
    }

    /// Changes a register of the x87 or SSE state; false if `name` is none, or none that can be written.
    static func setFPU(_ name: String, _ bytes: [UInt8], _ fpu: inout kvm_fpu) -> Bool {
        if let (array, index) = place(name) {
            guard bytes.count == size(array) else { return false }
            withUnsafeMutableBytes(of: &fpu) { memory in
                for (position, byte) in bytes.enumerated() { memory[offset(array, index) + position] = byte }
            }
            return true
        }
        let value = bytes.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        switch name {
        case "fctrl": fpu.fcw = UInt16(truncatingIfNeeded: value)
        case "fstat": fpu.fsw = UInt16(truncatingIfNeeded: value)
        // A tag of 3 is an empty register (Intel SDM volume 1, figure 8-7); the rest follows from the values.
        case "ftag":
            fpu.ftwx = (0..<8).reduce(UInt8(0)) { $0 | (value >> UInt64($1 * 2) & 3 != 3 ? 1 << UInt8($1) : 0) }
        case "fop": fpu.last_opcode = UInt16(truncatingIfNeeded: value)
        // The bits that no processor has would be #GP for the guest (Intel SDM volume 1, 10.2.3).
        case "mxcsr": fpu.mxcsr = UInt32(truncatingIfNeeded: value) & 0xffff
        default: return false
        }
        return true
    }

    private enum FPUArray { case x87, sse }

    private static func place(_ name: String) -> (FPUArray, Int)? {
        if name.hasPrefix("xmm"), let index = Int(name.dropFirst(3)), (0..<16).contains(index) { return (.sse, index) }
        if name.hasPrefix("st"), let index = Int(name.dropFirst(2)), (0..<8).contains(index) { return (.x87, index) }
        return nil
    }

    private static func size(_ array: FPUArray) -> Int { array == .x87 ? 10 : 16 }

    private static func offset(_ array: FPUArray, _ index: Int) -> Int {
        let start =
            array == .x87
            ? MemoryLayout<kvm_fpu>.offset(of: \kvm_fpu.fpr) : MemoryLayout<kvm_fpu>.offset(of: \kvm_fpu.xmm)
        return (start ?? 0) + index * 16
    }

    /// The tag word of FNSTENV from that of FXSAVE, which only says which registers are empty (Intel SDM volume 1, 10.5.1.1).
    private static func fullTag(_ fpu: kvm_fpu) -> UInt16 {
        let top = Int(fpu.fsw >> 11 & 7)
        var tag: UInt16 = 0
        for physical in 0..<8 {
            var kind: UInt16 = 3
            if fpu.ftwx >> UInt8(physical) & 1 != 0, let bytes = fpuBytes("st\((physical - top) & 7)", fpu) {
                let exponent = UInt16(bytes[8]) | UInt16(bytes[9] & 0x7f) << 8
                let isZero = bytes[..<8].allSatisfy { $0 == 0 }
                kind = exponent == 0x7fff || bytes[7] & 0x80 == 0 ? 2 : 0
                if exponent == 0 { kind = isZero ? 1 : 2 }
            }
            tag |= kind << UInt16(physical * 2)
        }
        return tag
    }
}
