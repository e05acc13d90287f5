// Allocates from every area and keeps writing: each round takes a block of every size, writes a pattern through it, checks
// the pattern of the round before, and frees it; one mapping stays and is touched page by page. The argument is the number
// of rounds; without one it goes on for ever. Exit status 1: a pattern was not what was written; 2: memory was short.

/// A block of each area by its size, and one of the debug area.
private let sizes: (UInt64, UInt64, UInt64) = (64, 4096, 65536)
private let mappingSize: UInt64 = 64 << 10
/// Bytes between two marks: enough to meet every page of a block, few enough for an emulated ring 0.
private let stride: UInt64 = 512

/// Writes marks through a block, then reads them all back.
private func fill(_ block: UnsafeMutableRawPointer, _ size: UInt64, seed: UInt64) -> Bool {
    var offset: UInt64 = 0
    while offset < size {
        block.storeBytes(of: seed ^ offset, toByteOffset: Int(offset), as: UInt64.self)
        offset &+= stride
    }
    offset = 0
    while offset < size {
        if block.load(fromByteOffset: Int(offset), as: UInt64.self) != seed ^ offset { return false }
        offset &+= stride
    }
    return true
}

func program(_ system: System, _ argument: UnsafePointer<CChar>) -> Int64 {
    let rounds = number(argument) ?? UInt64.max
    guard let mapping = system.map(mappingSize) else { return 2 }
    var round: UInt64 = 0
    while round < rounds {
        round &+= 1
        guard let small = system.allocate(sizes.0), let page = system.allocate(sizes.1),
            let large = system.allocate(sizes.2)
        else { return 2 }
        guard fill(small, sizes.0, seed: round), fill(page, sizes.1, seed: round &<< 8),
            fill(large, sizes.2, seed: round &<< 16), fill(mapping, mappingSize, seed: round &<< 24)
        else { return 1 }
        if round & (round &- 1) == 0 {
            Line.print(system) { line in
                line.add("allocator: round ")
                line.add(round)
                line.add(" small ")
                line.add(small)
                line.add(" page ")
                line.add(page)
                line.add(" large ")
                line.add(large)
                line.add(" mapped ")
                line.add(mapping)
            }
        }
        // Another block of the debug area every 16th round: its addresses are never used again.
        if round & 15 == 1, let guarded = system.allocate(100, area: VITRINE_DEBUG) {
            guard fill(guarded, 100, seed: round) else { return 1 }
            system.release(guarded, size: 100)
        }
        system.release(large, size: sizes.2)
        system.release(page, size: sizes.1)
        system.release(small, size: sizes.0)
        system.yield()
    }
    return 0
}
