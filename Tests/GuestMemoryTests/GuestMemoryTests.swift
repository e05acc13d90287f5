// The monitor's RAM and the inspector's map of it.

import Addresses
import Glibc
import GuestMemory
import SystemCalls
import Testing

private let ranges = [
    RAMRange(name: "low", start: GPA(0), size: 0x3000),
    RAMRange(name: "arena", start: GPA(0x3000), size: 0x1000),
    RAMRange(name: "high", start: GPA(4 << 30), size: 0x2000),
]

@Suite struct GuestRAMTests {
    @Test func eachRangeIsASlotAtItsOwnAddress() throws {
        let ram = try GuestRAM(ranges)
        #expect(ram.slots.slots.map(\.name) == ["low", "arena", "high"])
        #expect(ram.slots.slots.map(\.id) == [0, 1, 2])
        #expect(Set(ram.slots.slots.map(\.userspaceAddress)).count == 3)
        #expect(ram.slots.slots.allSatisfy { $0.userspaceAddress.isAligned(to: 4096) })
    }

    /// What was never written is not handed out: reading it through the map would make pages of it.
    @Test func onlyWrittenPagesAreHandedOut() throws {
        let ram = try GuestRAM(ranges)
        for address in [0x1000, 0x3010, 4 << 30, (4 << 30) + 0x1fff] as [UInt64] {
            #expect(ram.write([7], at: GPA(address)))
        }
        let view = try MappedMemory(slots: ram.slots, backings: ram.readOnlyBackings())
        func pieces(_ range: ClosedRange<GPA>) -> [UInt64: Int] {
            var pieces: [UInt64: Int] = [:]
            view.populated(range) { pieces[$0.rawValue] = $1.count }
            return pieces
        }
        #expect(pieces(GPA(0)...GPA(.max)) == [0x1000: 0x1000, 0x3000: 0x1000, 4 << 30: 0x2000])
        #expect(pieces(GPA(0x1800)...GPA(0x300f)) == [0x1800: 0x800, 0x3000: 0x10])
        #expect(pieces(GPA(0x2000)...GPA(0x2fff)).isEmpty)
        #expect(pieces(GPA(0x4000)...GPA(0x5000)).isEmpty)
    }

    @Test func bytesCrossSlotsAndStopAtHoles() throws {
        let ram = try GuestRAM(ranges)
        let bytes = (0..<8192).map { UInt8(truncatingIfNeeded: $0 * 7) }
        #expect(ram.write(bytes, at: GPA(0x2000)))
        var copy = [UInt8](repeating: 0, count: 8192)
        #expect(copy.withUnsafeMutableBytes { ram.read(GPA(0x2000), into: $0) })
        #expect(copy == bytes)
        // One byte past the end: nothing is written at all.
        #expect(!ram.write(Array(repeating: 0xee, count: 4097), at: GPA(0x3000)))
        #expect(ram.page(at: GPA(0x3fff))?.load(as: UInt8.self) == bytes[4096])
        #expect(!ram.write([1], at: GPA(0x4000)))
        #expect(!ram.write([1, 2], at: GPA(UInt64.max)))
        #expect(ram.page(at: GPA(0x4000)) == nil)
        #expect(ram.page(at: GPA(UInt64.max)) == nil)
        #expect(ram.hostMemory(at: GPA(0x2fff), count: 2) == nil)
    }

    @Test func theSlotTableSaysWhereABytesIs() throws {
        let ram = try GuestRAM(ranges)
        #expect(ram.write([0x5a], at: GPA(4 << 30 + 0x1234)))
        let hva = try #require(ram.slots.hva(of: GPA(4 << 30 + 0x1234)))
        #expect(UnsafePointer<UInt8>(bitPattern: UInt(hva.rawValue))?.pointee == 0x5a)
    }

    @Test func discardedMemoryIsZero() throws {
        let ram = try GuestRAM(ranges)
        for range in ranges { #expect(ram.write([1, 2, 3], at: range.start)) }
        try ram.discard()
        for range in ranges { #expect(ram.page(at: range.start)?.load(as: UInt32.self) == 0) }
        #expect(ram.write([9], at: GPA(0)))
    }

    @Test func untouchedMemoryCostsNothing() throws {
        // Far more than any machine has.
        let ram = try GuestRAM([RAMRange(name: "low", start: GPA(0), size: 4 << 40)])
        #expect(ram.write([1], at: GPA(4 << 40 - 1)))
    }

    @Test func sizesThatCannotBeAreRefused() {
        #expect(throws: GuestMemoryError.self) {
            try GuestRAM([RAMRange(name: "low", start: GPA(0), size: 100)])
        }
        #expect(throws: GuestMemoryError.self) {
            try GuestRAM([
                RAMRange(name: "low", start: GPA(0), size: 0x2000),
                RAMRange(name: "b", start: GPA(0x1000), size: 0x1000),
            ])
        }
        #expect(throws: GuestMemoryError.self) {
            try GuestRAM([RAMRange(name: "low", start: GPA(0), size: 1 << 62)])
        }
    }

    @Test func hugePagesThatAreNotThereAreAnErrorThatSaysWhatToDo() {
        // 4 TiB of huge pages are never free.
        let error = #expect(throws: GuestMemoryError.self) {
            try GuestRAM([RAMRange(name: "low", start: GPA(0), size: 4 << 40)], hugePageSize: 2 << 20)
        }
        #expect(error?.description.contains("nr_hugepages") == true)
    }
}

@Suite struct MappedMemoryTests {
    @Test func readsWhatTheMonitorWrites() throws {
        let ram = try GuestRAM(ranges)
        let mapped = try MappedMemory(slots: ram.slots, backings: ram.readOnlyBackings())
        #expect(mapped.bytes(at: GPA(0x2ffe), count: 4) == [0, 0, 0, 0])
        #expect(ram.write([1, 2, 3, 4], at: GPA(0x2ffe)))
        #expect(mapped.bytes(at: GPA(0x2ffe), count: 4) == [1, 2, 3, 4])
        #expect(mapped.bytes(at: GPA(0x3ffe), count: 4) == nil)
        #expect(mapped.bytes(at: GPA(0x3ffe), count: -1) == nil)
        // An absurd size is refused before memory is taken for it.
        #expect(mapped.bytes(at: GPA(0), count: Int.max) == nil)
        #expect(mapped.page(at: GPA(0x4000)) == nil)
    }

    @Test func theDescriptorsCannotBeMappedWritable() throws {
        let ram = try GuestRAM(ranges)
        for backing in try ram.readOnlyBackings() {
            let error = #expect(throws: Errno.self) {
                _ = try MemoryMap(backing.descriptor.descriptor, size: 4096, writable: true)
            }
            #expect(error?.code == EACCES)
        }
    }

    @Test func filesThatMayShrinkAreRefused() throws {
        let slots = try SlotTable([
            MemorySlot(id: 0, name: "low", guestPhysicalAddress: GPA(0), size: 4096, userspaceAddress: HVA(0x1000))
        ])
        let path = "/tmp/vitrine-memory-\(getpid())"
        let file = SharedDescriptor(try FileDescriptor(open: path, O_RDWR | O_CREAT | O_EXCL))
        unlink(path)
        try #require(ftruncate(file.rawValue, 8192) == 0)
        let error = #expect(throws: GuestMemoryError.self) {
            _ = try MappedMemory(slots: slots, backings: [SlotBacking(descriptor: file, offset: 0)])
        }
        #expect(error?.description.contains("sealed") == true)
    }

    @Test func filesThatAreTooShortAreRefused() throws {
        let slots = try SlotTable([
            MemorySlot(id: 0, name: "low", guestPhysicalAddress: GPA(0), size: 0x3000, userspaceAddress: HVA(0x1000))
        ])
        let file = SharedDescriptor(try FileDescriptor.memoryFile(named: "short", size: 0x3000))
        for offset in [0x1000, 1, UInt64.max - 4095] {
            #expect(throws: GuestMemoryError.self) {
                _ = try MappedMemory(slots: slots, backings: [SlotBacking(descriptor: file, offset: offset)])
            }
        }
        #expect(throws: GuestMemoryError.self) { _ = try MappedMemory(slots: slots, backings: []) }
        _ = try MappedMemory(slots: slots, backings: [SlotBacking(descriptor: file, offset: 0)])
    }

    @Test func aPipeIsRefused() throws {
        let slots = try SlotTable([
            MemorySlot(id: 0, name: "low", guestPhysicalAddress: GPA(0), size: 4096, userspaceAddress: HVA(0x1000))
        ])
        let null = SharedDescriptor(try FileDescriptor(open: "/dev/null", O_RDONLY))
        #expect(throws: GuestMemoryError.self) {
            _ = try MappedMemory(slots: slots, backings: [SlotBacking(descriptor: null, offset: 0)])
        }
    }
}
