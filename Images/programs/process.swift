// A process (ring 3, where processes have address spaces of their own; linux-process is the same with Linux's system calls). The first word of the argument says what it does:
//
//     idle      writes marks into its data, its stack and a mapping, and waits to be looked at (the default)
//     fork N    N children write to what they share with it; it waits for each and finds its own memory as it was
//     threads   two threads count in one address space until both are done
//     spin      never gives its processor up
//     yield     does nothing but give it up
//     churn     maps a page, writes to it and unmaps it, over and over
//     null, stack, kernel, unmapped, memory, forks      what a wrong program does: the kernel ends it with a report
//
// Exit status 0: everything was as it should be; 1: not; 2: memory was short.

private let mark: UInt64 = 0x5649_5452_494e_4530

private func begins(_ text: UnsafePointer<CChar>, _ word: StaticString) -> Bool {
    for index in 0..<word.utf8CodeUnitCount where UInt8(bitPattern: text[index]) != word.utf8Start[index] {
        return false
    }
    let next = text[word.utf8CodeUnitCount]
    return next == 0 || next == 0x20
}

private func second(_ text: UnsafePointer<CChar>) -> UInt64? {
    var next = text
    while next.pointee != 0, next.pointee != 0x20 { next += 1 }
    return next.pointee == 0 ? nil : number(next + 1)
}

private func idle(_ system: System) -> Int64 {
    guard let page = system.map(4096) else { return 2 }
    page.storeBytes(of: mark, as: UInt64.self)
    Line.print(system) { line in
        line.add("process: number ")
        line.add(UInt64(bitPattern: system.processNumber()))
        line.add(", page ")
        line.add(page)
    }
    while true { system.pause() }
}

private func forks(_ system: System, _ children: UInt64) -> Int64 {
    guard let page = system.map(8192) else { return 2 }
    page.storeBytes(of: mark, as: UInt64.self)
    var own = mark
    var child: UInt64 = 0
    while child < children {
        child &+= 1
        let number = system.fork()
        if number == 0 {
            // What the parent wrote is there, and what is written here stays here.
            let isRight = page.load(as: UInt64.self) == mark &+ child &- 1 && own == mark
            page.storeBytes(of: child, as: UInt64.self)
            page.storeBytes(of: child, toByteOffset: 4096, as: UInt64.self)
            own = child
            system.exit(isRight && page.load(as: UInt64.self) == child ? Int64(child) : -1)
        }
        guard number > 0 else { return 2 }
        page.storeBytes(of: mark &+ child, as: UInt64.self)
        guard system.wait(for: number) == Int64(child), page.load(as: UInt64.self) == mark &+ child,
            page.load(fromByteOffset: 4096, as: UInt64.self) == 0, own == mark
        else { return 1 }
    }
    Line.print(system) { line in
        line.add("process: ")
        line.add(children)
        line.add(" children, each with memory of its own")
    }
    return 0
}

/// Counts in the words that its argument points to: one's own, and how far the other is.
private func count(_ argument: UInt64) {
    if let words = UnsafeMutablePointer<UInt64>(bitPattern: UInt(argument)) {
        for _ in 0..<1000 { words[1] &+= 1 }
        words[2] = mark
    }
    while true { System.exitThread() }
}

private func threads(_ system: System) -> Int64 {
    guard let memory = system.map(65536) else { return 2 }
    let words = memory.bindMemory(to: UInt64.self, capacity: 8)
    words[1] = 0
    guard system.startThread(count, stack: memory + 65536, UInt64(UInt(bitPattern: memory))) else { return 2 }
    while words[2] != mark { system.yield() }
    Line.print(system) { line in
        line.add("process: a thread counted to ")
        line.add(words[1])
    }
    return words[1] == 1000 ? 0 : 1
}

private func churn(_ system: System) -> Int64 {
    while true {
        guard let page = system.map(4096) else { return 2 }
        page.storeBytes(of: mark, as: UInt64.self)
        guard page.load(as: UInt64.self) == mark, system.unmap(page, 4096) else { return 1 }
    }
}

@inline(never) private func overflow(_ depth: UInt64) -> UInt64 {
    var block = InlineArray<64, UInt64>(repeating: depth)
    if depth == .max { return 0 }
    block[Int(depth & 63)] = overflow(depth &+ 1)
    return block[0] &+ block[63]
}

private func exhaust(_ system: System) -> Int64 {
    while let block = system.map(16 << 20) {
        for page in stride(from: 0, to: 16 << 20, by: 4096) {
            block.storeBytes(of: 1, toByteOffset: page, as: UInt64.self)
        }
    }
    return 2
}

private func forkWithoutEnd(_ system: System) -> Int64 {
    while true {
        let number = system.fork()
        if number < 0 { return 3 }
        if number == 0 { while true { system.pause() } }
    }
}

func program(_ system: System, _ argument: UnsafePointer<CChar>) -> Int64 {
    if begins(argument, "fork") { return forks(system, second(argument) ?? 3) }
    if begins(argument, "threads") { return threads(system) }
    if begins(argument, "spin") { while true {} }
    if begins(argument, "yield") { while true { system.yield() } }
    if begins(argument, "churn") { return churn(system) }
    if begins(argument, "null") {
        let entry = unsafeBitCast(UInt(0x10), to: (@convention(c) () -> Void).self)
        entry()
        return 1
    }
    if begins(argument, "stack") { return Int64(truncatingIfNeeded: overflow(0)) }
    if begins(argument, "kernel") { return system.write(at: 0xffff_8000_0020_0000, 16) }
    if begins(argument, "unmapped") { return system.write(at: 0x7000_0000_0000, 16) }
    if begins(argument, "memory") { return exhaust(system) }
    if begins(argument, "forks") { return forkWithoutEnd(system) }
    return idle(system)
}
