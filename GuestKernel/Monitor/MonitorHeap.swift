// The monitor's commands about a mapped heap and the device registers that grow down towards it, and work with both.

/// Commands of layouts with a mapped heap.
enum MonitorHeap {
    /// Far above RAM: device registers that nobody has.
    private static var nowhere: UInt64 { 0x10_0000_0000 }

    /// `areas`: the heap, the device registers, and the physical memory behind the window.
    static func areas(_ out: inout TextWriter) {
        line(&out, "heap", from: Plan.current.heapBase, to: MappedHeap.end)
        if Plan.current.devicesEnd != 0 { line(&out, "mmio", from: Devices.bottom, to: Plan.current.devicesEnd) }
        line(&out, "memory", from: PageTable.linear(Kernel.end), to: PageTable.linear(PhysicalPages.top))
        line(&out, "kernel", from: Plan.current.imageOffset &+ Plan.current.imageBase, to: address_of_kernel_end())
    }

    static func line(_ out: inout TextWriter, _ name: StaticString, from start: UInt64, to end: UInt64) {
        out.text("area=")
        out.text(name)
        out.text(" base=")
        out.hex(start)
        out.text(" end=")
        out.hex(end)
        out.newline()
    }

    /// `mmio PA SIZE`: maps device registers below those that are mapped; `mmio-end VA`: unmaps those below an address again.
    static func map(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard let first = line.word(), let physical = line.number(first), let second = line.word(),
            let size = line.number(second), line.word() == nil
        else { return "usage: mmio PA SIZE" }
        do throws(MemoryError) {
            let start = try Memory.locked { () throws(MemoryError) in try Devices.map(physical, size: size) }
            out.text("va=")
            out.hex(start)
            out.text(" pa=")
            out.hex(physical)
            out.text(" size=")
            out.decimal((size &+ 4095) & ~4095)
            out.newline()
            return nil
        } catch {
            return MonitorCommands.refuse(error, &out)
        }
    }

    /// `mmio-end VA`.
    static func unmap(_ line: inout MonitorLine, _ out: inout TextWriter) -> StaticString? {
        guard let first = line.word(), let end = line.number(first), line.word() == nil else {
            return "usage: mmio-end VA"
        }
        do throws(MemoryError) {
            try Memory.locked { () throws(MemoryError) in try Devices.unmap(below: end) }
            return nil
        } catch {
            return MonitorCommands.refuse(error, &out)
        }
    }

    /// `work collide`: heap and device registers grow towards each other until both are refused more. Every block of the heap
    /// begins with the address of the block before it and with a mark of its own, every leaf of a device leads to its address
    /// plus `nowhere`: both are looked at when everything is full, then everything is given back.
    static func collide(
        _ rounds: UInt64, _ numbers: inout WorkNumbers, _ out: inout TextWriter
    ) throws(MemoryError) -> UInt64 {
        guard Plan.current.devicesEnd != 0 else { throw .badArea }
        let large = PageTable.size2M
        let top = Devices.bottom
        // All but the last 1 to 3 MiB between them at once.
        let target = (MappedHeap.end &+ (large &>> 1) &+ large &- 1) & ~(large &- 1)
        let start = top & ~(large &- 1)
        if start > target { _ = try mapDevices(nowhere &+ target, start &- target) }
        let smallEnd = Devices.bottom
        defer { try? Memory.locked { () throws(MemoryError) in try Devices.unmap(below: top) } }
        var newest: UInt64 = 0
        defer {
            while newest != 0 {
                let next = read_word(newest)
                try? Malloc.free(newest)
                newest = next
            }
        }
        var heapRefused: UInt64 = 0
        var devicesRefused: UInt64 = 0
        var blocks: UInt64 = 0
        var sum: UInt64 = 0
        var round: UInt64 = 0
        while round < rounds && (heapRefused == 0 || devicesRefused == 0) {
            round &+= 1
            let size = (1 &+ numbers.below(32)) &<< 12
            do throws(MemoryError) {
                if numbers.below(4) == 0 {
                    sum = sum &* 31 &+ (try mapDevices(nowhere &+ Devices.bottom &- size, size))
                } else {
                    let block = try Malloc.allocate(size, area: .main)
                    write_word(block, newest)
                    write_word(block &+ 8, ~block)
                    newest = block
                    blocks &+= 1
                    sum = sum &* 31 &+ block
                }
            } catch {
                if error == .heapFull {
                    heapRefused &+= 1
                } else if error == .devicesFull {
                    devicesRefused &+= 1
                } else {
                    throw error
                }
            }
        }
        out.text("heap-end=")
        out.hex(MappedHeap.end)
        out.text(" mmio-bottom=")
        out.hex(Devices.bottom)
        out.text(" heap-refused=")
        out.decimal(heapRefused)
        out.text(" mmio-refused=")
        out.decimal(devicesRefused)
        out.text(isIntact(newest, blocks, smallEnd) ? " intact=yes\n" : " intact=no\n")
        return sum
    }

    private static func mapDevices(_ physical: UInt64, _ size: UInt64) throws(MemoryError) -> UInt64 {
        try Memory.locked { () throws(MemoryError) in try Devices.map(physical, size: size) }
    }

    /// Whether every block has its mark, and every device leaf leads where it should.
    private static func isIntact(_ newest: UInt64, _ blocks: UInt64, _ smallEnd: UInt64) -> Bool {
        var block = newest
        var count: UInt64 = 0
        while block != 0 && count <= blocks {
            guard MappedHeap.physical(of: block) != nil, read_word(block &+ 8) == ~block else { return false }
            block = read_word(block)
            count &+= 1
        }
        guard count == blocks, MappedHeap.end <= Devices.bottom else { return false }
        var address = Devices.bottom
        while address < smallEnd {
            guard Spaces.kernel.pointee.physical(of: address) == nowhere &+ address else { return false }
            address &+= 4096
        }
        return Spaces.kernel.pointee.physical(of: smallEnd) == nowhere &+ smallEnd
    }
}
