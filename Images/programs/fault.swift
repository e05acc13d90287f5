// Faults on purpose: maps a page, writes it, takes the right to write away, reads it, and writes it again. The kernel must
// report the fault and end this program alone; if the write succeeds the exit status is 1.

func program(_ system: System, _ argument: UnsafePointer<CChar>) -> Int64 {
    guard let page = system.map(4096) else { return 2 }
    page.storeBytes(of: 0x5a, as: UInt64.self)
    guard system.protect(page, 4096, VITRINE_READ.rawValue), page.load(as: UInt64.self) == 0x5a else { return 3 }
    Line.print(system) { line in
        line.add("fault: writing to the read-only page ")
        line.add(page)
    }
    page.storeBytes(of: 0xa5, as: UInt64.self)
    return 1
}
