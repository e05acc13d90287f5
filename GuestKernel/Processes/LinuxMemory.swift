// Linux's system calls about memory: brk, mmap, mprotect, munmap, madvise.

/// Serves calls about memory; nil: not one of them.
enum LinuxMemory {
    static func handle(_ call: LinuxCalls.Call) -> Int64? {
        switch call.number {
        case 9: return map(call)
        case 10: return protect(call)
        case 11: return unmap(call.first, call.second)
        case 12: return Int64(bitPattern: AddressSpace.current.pointee.setBreak(call.first))
        default: return nil
        }
    }

    /// PROT_*: bits 0 to 2; who may write or execute may read, as x86 has it.
    private static func protection(_ bits: UInt64) -> Protection? {
        guard bits <= 7 else { return nil }
        return Protection(rawValue: bits & 6 != 0 ? bits | 1 : bits)
    }

    /// mmap: private anonymous memory, at a fixed address or anywhere.
    private static func map(_ call: LinuxCalls.Call) -> Int64 {
        let (isPrivate, isFixed, isAnonymous) = (call.fourth & 3 == 2, call.fourth & 0x10 != 0, call.fourth & 0x20 != 0)
        let isNew = call.fourth & 0x10_0000 != 0  // MAP_FIXED_NOREPLACE
        guard isAnonymous else { return LinuxCalls.Failure.noDevice }
        guard isPrivate, let protection = protection(call.third), call.second > 0 else {
            return LinuxCalls.Failure.invalid
        }
        guard call.second <= Linux.userEnd else { return LinuxCalls.Failure.noMemory }
        let space = AddressSpace.current
        let program = Thread.current?.pointee.program ?? -1
        func map(_ address: UInt64?) throws(MemoryError) -> UInt64 {
            try space.pointee.map(at: address, size: call.second, protection: protection, program: program)
        }
        do throws(MemoryError) {
            if isFixed || isNew {
                guard call.first & 4095 == 0 else { return LinuxCalls.Failure.invalid }
                if !isNew { try space.pointee.unmap(call.first, size: call.second, withHoles: true) }
                return Int64(bitPattern: try map(call.first))
            }
            // A hint is taken where it can be.
            let hint = call.first & ~4095
            if hint != 0, let address = try? map(hint) { return Int64(bitPattern: address) }
            return Int64(bitPattern: try map(nil))
        } catch {
            switch error {
            case .overlap: return isNew ? LinuxCalls.Failure.exists : LinuxCalls.Failure.noMemory
            case .badAddress: return isNew ? LinuxCalls.Failure.invalid : LinuxCalls.Failure.notPermitted
            default: return LinuxCalls.Failure.noMemory
            }
        }
    }

    private static func protect(_ call: LinuxCalls.Call) -> Int64 {
        guard call.first & 4095 == 0, let protection = protection(call.third) else {
            return LinuxCalls.Failure.invalid
        }
        guard call.second > 0 else { return 0 }
        do throws(MemoryError) {
            try AddressSpace.current.pointee.protect(call.first, size: call.second, protection: protection)
            return 0
        } catch {
            return LinuxCalls.Failure.noMemory
        }
    }

    private static func unmap(_ address: UInt64, _ size: UInt64) -> Int64 {
        do throws(MemoryError) {
            try AddressSpace.current.pointee.unmap(address, size: size, withHoles: true)
            return 0
        } catch {
            return error == .badSize || error == .badAddress ? LinuxCalls.Failure.invalid : LinuxCalls.Failure.noMemory
        }
    }
}
