// A process of the panda layout. The first word of the argument says what it does:
//
//     idle      uses its heap, its stack and a buffer that the kernel writes, and waits to be looked at (the default)
//     spin      never gives its processor up
//     null, stack, kernel, unmapped, memory      what a wrong program does: the kernel ends it with a report
//
// Exit status 0: everything was as it should be; 1: not; 2: memory was short.

private let mark: UInt64 = 0x5041_4e44_4100_0000
private let page: UInt64 = 4096

private func words(_ address: UInt64) -> UnsafeMutablePointer<UInt64>? {
    UnsafeMutablePointer(bitPattern: UInt(address))
}

/// The heap: grown, written, asked for, shrunk again; a break that cannot be changes nothing.
private func usesHeap(_ system: System) -> Bool {
    let start = system.setBreak(0)
    guard system.setBreak(start + 4 * page) == start + 4 * page, let heap = words(start) else { return false }
    heap[0] = mark
    heap[1024] = mark
    guard system.setBreak(1 << 46) == start + 4 * page, system.setBreak(start - page) == start + 4 * page,
        heap[0] == mark, heap[1024] == mark, heap[512] == 0
    else { return false }
    return system.setBreak(start + 3 * page) == start + 3 * page && system.setBreak(0) == start + 3 * page
}

/// A buffer: what the kernel writes is there, in the order it says.
private func usesBuffer(_ system: System) -> UInt64? {
    guard let buffer = system.allocateBuffer(3 * page), let words = words(buffer) else { return nil }
    guard system.fillBuffer(buffer, 3 * page, mark) else { return nil }
    for index in 0..<1536 where words[index] != mark + UInt64(index) { return nil }
    // One between two that are used is the first place where another fits.
    guard let second = system.allocateBuffer(page), let third = system.allocateBuffer(page),
        second == buffer + 3 * page,
        third == second + page, system.freeBuffer(second), system.allocateBuffer(page) == second,
        system.freeBuffer(second), system.freeBuffer(third), !system.freeBuffer(third),
        !system.freeBuffer(buffer + page)
    else { return nil }
    return buffer
}

@inline(never) private func overflow(_ depth: UInt64) -> UInt64 {
    var block = InlineArray<64, UInt64>(repeating: depth)
    if depth == .max { return 0 }
    block[Int(depth & 63)] = overflow(depth &+ 1)
    return block[0] &+ block[63]
}

private func exhaust(_ system: System) -> Int64 {
    var end = system.setBreak(0)
    while system.setBreak(end + (1 << 20)) == end + (1 << 20) {
        for at in stride(from: end, to: end + (1 << 20), by: 4096) { words(at)?.pointee = mark }
        end += 1 << 20
    }
    return 2
}

private func idle(_ system: System) -> Int64 {
    guard usesHeap(system) else { return 1 }
    guard let buffer = usesBuffer(system) else { return 1 }
    Line.print(system) { line in
        line.add("panda: process ")
        line.add(UInt64(bitPattern: system.processNumber()))
        line.add(", buffer ")
        line.add(hex: buffer)
        line.add(" written by the kernel, heap up to ")
        line.add(hex: system.setBreak(0))
    }
    while true { system.pause() }
}

func program(_ system: System, _ argument: UnsafePointer<CChar>) -> Int64 {
    switch UInt8(bitPattern: argument[0]) {
    case 0x6e:  // null
        let entry = unsafeBitCast(UInt(0x10), to: (@convention(c) () -> Void).self)
        entry()
        return 1
    case 0x6b: return system.write(at: 0xffff_8000_0020_0000, 16)  // kernel
    case 0x75: return system.write(at: 0x7000_0000_0000, 16)  // unmapped
    case 0x6d: return exhaust(system)  // memory
    case 0x73 where argument[1] == 0x70: while true {}  // spin
    case 0x73: return Int64(truncatingIfNeeded: overflow(0))  // stack
    default: return idle(system)
    }
}
