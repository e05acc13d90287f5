// A kernel's monitor over tables of the test's own. It does what the real one does, but for one fault if asked to.

import Addresses
import GuestMemory
import Inspection
import Layouts
import PageTables

/// What the kernel gets wrong.
enum Fault: CaseIterable {
    case smallBlocksInMain, blockNotLinear, noGuardPage, addressesReused, freedBlockStays, eagerMapping,
        largePageMissing
    case protNoneWritable, protNoneDoesNotFault, protNoneLosesThePage, unmapLeavesALeaf, lowMmap
    case programElsewhere, namespaceZeroLoads, wrongReason, oracleDisagrees, otherBytesInHost, noMonitor

    /// The rules that must notice.
    var rules: Set<String> {
        switch self {
        case .smallBlocksInMain: ["malloc(64)"]
        case .blockNotLinear: ["malloc(64)", "malloc(4096)", "malloc(65536)"]
        case .noGuardPage, .addressesReused, .freedBlockStays: ["debug block"]
        case .eagerMapping: ["demand paging"]
        case .largePageMissing: ["demand paging, large"]
        case .protNoneWritable, .protNoneDoesNotFault, .protNoneLosesThePage: ["PROT_NONE"]
        case .unmapLeavesALeaf, .lowMmap: ["demand paging", "demand paging, large", "PROT_NONE"]
        case .programElsewhere: ["programs"]
        case .namespaceZeroLoads, .wrongReason: ["namespaces"]
        case .oracleDisagrees: ["translations"]
        case .otherBytesInHost: ["double mapping"]
        case .noMonitor:
            [
                "malloc(64)", "malloc(4096)", "malloc(65536)", "double mapping", "debug block", "demand paging",
                "demand paging, large", "PROT_NONE", "programs",
            ]
        }
    }
}

final class FakeGuest: AuditGuest {
    let image: OSvImage
    let fault: Fault?
    private var nextPage: UInt64 = 0x220_0000
    private var nextDebug = OSv.Area.debug.base
    /// Blocks and mappings that were not given back.
    private(set) var owned: [UInt64: UInt64] = [:]
    private var protected: Set<UInt64> = []

    init(_ image: OSvImage, fault: Fault? = nil) {
        self.image = image
        self.fault = fault
        if fault != .programElsewhere { image.map4K(OSv.programBase, 0x3a0_0000) }
    }

    var subject: Subject { image.subject }

    func stage(_ name: String) throws -> Subject {
        guard name == "C" else { return image.stage(name) }
        return try OSvImage(size: image.size).subject
    }

    func oracle(_ address: GVA) throws -> GPA? {
        if fault == .oracleDisagrees { return GPA(0) }
        return subject.translate(address).mapping?.gpa
    }

    func hostBytes(at address: HVA, count: Int) -> [UInt8]? {
        guard let slot = image.slots.slots.first(where: { $0.gpa(of: address) != nil }), let gpa = slot.gpa(of: address)
        else { return nil }
        var bytes = [UInt8](repeating: 0, count: count)
        guard bytes.withUnsafeMutableBytes({ image.memory.read(gpa, into: $0) }) else { return nil }
        if fault == .otherBytesInHost { bytes[0] ^= 1 }
        return bytes
    }

    private func hex(_ value: UInt64) -> String { GVA(value).hex }

    func command(_ line: String) throws -> MonitorAnswer {
        if fault == .noMonitor { return .error("nobody is there") }
        let words = line.split(separator: " ").map(String.init)
        func number(_ index: Int) -> UInt64 {
            guard index < words.count else { return 0 }
            return words[index].hasPrefix("0x") ? parseHexadecimal(words[index]) ?? 0 : UInt64(words[index]) ?? 0
        }
        switch words[0] {
        case "alloc": return allocate(number(1))
        case "debug-alloc": return debugAllocate(number(1))
        case "free": return free(number(1))
        case "map": return map(number(1))
        case "unmap": return unmap(number(1), number(2))
        case "protect": return protect(number(1), allowed: words[3] != "none")
        case "touch": return touch(number(1), words.count > 2 ? number(2) : nil)
        case "programs":
            let base = fault == .programElsewhere ? 0x3000_0000_0000 : OSv.programBase
            return .lines([["program": "0", "name": "hello", "base": hex(base), "state": "running", "status": "0"]])
        case "load":
            if fault == .namespaceZeroLoads && number(2) == 0 { return .lines([["program": "1"]]) }
            return .error(fault == .wrongReason ? "out of memory" : "no namespace \(number(2))")
        default: return .error("no such command")
        }
    }

    private func allocate(_ size: UInt64) -> MonitorAnswer {
        var area = size <= 1024 ? OSv.Area.mempool : size <= 4096 ? .page : .main
        if fault == .smallBlocksInMain && area == .mempool { area = .main }
        let pa = nextPage
        nextPage += (size + 4095) & ~4095
        owned[area.base + pa] = size
        let said = fault == .blockNotLinear ? pa + 4096 : pa
        let name = ["main", "page", "mempool"][Int(area.rawValue)]
        return .lines([["va": hex(area.base + pa), "pa": hex(said), "area": name, "size": "\(size)"]])
    }

    private func debugAllocate(_ size: UInt64) -> MonitorAnswer {
        let header = nextDebug
        let data = header + 8192
        image.map4K(header, nextPage)
        if fault == .noGuardPage { image.map4K(header + 4096, nextPage) }
        for offset in stride(from: 0, to: size, by: 4096) { image.map4K(data + offset, nextPage + 4096 + offset) }
        nextPage += size + 4096
        if fault != .addressesReused { nextDebug = data + size + 4096 }
        owned[data] = size
        return .lines([
            ["va": hex(data), "header": hex(header), "guard1": hex(header + 4096), "guard2": hex(data + size)]
        ])
    }

    private func free(_ va: UInt64) -> MonitorAnswer {
        guard let size = owned.removeValue(forKey: va) else { return .error("not allocated") }
        if va >= OSv.Area.debug.base && fault != .freedBlockStays {
            for offset in stride(from: 0, to: size, by: 4096) { image.map(va + offset, level: 1, leaf: 0) }
            image.map(va - 8192, level: 1, leaf: 0)
        }
        return .lines([])
    }

    private func map(_ size: UInt64) -> MonitorAnswer {
        let va = fault == .lowMmap ? OSv.mmapBase - (1 << 30) : OSv.mmapBase + (nextPage & 0x1f_f000) + (4 << 20)
        owned[va] = size
        if fault == .eagerMapping { image.map4K(va, nextPage) }
        return .lines([["va": hex(va), "size": "\(size)", "perm": "rw"]])
    }

    private func unmap(_ va: UInt64, _ size: UInt64) -> MonitorAnswer {
        owned[va] = nil
        if fault == .unmapLeavesALeaf { return .lines([]) }
        for offset in stride(from: 0, to: size, by: 4096) {
            for level in [1, 2] {
                guard let at = image.entryAddress(va + offset, level: level) else { continue }
                if level == 1 || image.memory[at] & 0x80 != 0 { image.memory[at] = 0 }
            }
        }
        return .lines([])
    }

    private func protect(_ va: UInt64, allowed: Bool) -> MonitorAnswer {
        guard let at = image.entryAddress(va, level: 1) else { return .error("not mapped") }
        let address = image.memory[at] & X86Bit.address & ~OSv.protNoneBit
        if allowed {
            protected.remove(va)
            image.memory[at] = (fault == .protNoneLosesThePage ? address + 4096 : address) | OSv.leafBits4K
        } else {
            protected.insert(va)
            image.memory[at] =
                address | OSv.leafBits4K & ~(fault == .protNoneWritable ? 0 : 2) | OSv.protNoneBit | 1 << 63
        }
        return .lines([])
    }

    private func touch(_ va: UInt64, _ value: UInt64?) -> MonitorAnswer {
        if protected.contains(va) && fault != .protNoneDoesNotFault { return .error("fault=\(hex(va)) code=0x9") }
        if let (start, size) = owned.first(where: { $0.key < OSv.vmaEnd && va >= $0.key && va < $0.key + $0.value }),
            subject.translate(GVA(va)).mapping == nil, !protected.contains(va)
        {
            let slot = va & ~0x1f_ffff
            if slot >= start, slot + (2 << 20) <= start + size, fault != .largePageMissing {
                image.map2M(slot, 0x300_0000)
            } else {
                image.map4K(va & ~4095, nextPage)
                nextPage += 4096
            }
        }
        let gpa = subject.translate(GVA(va)).mapping?.gpa.rawValue ?? 0
        if let value { image.memory[gpa] = value }
        return .lines([["va": hex(va), "value": hex(image.memory[gpa])]])
    }
}
