// The guest kernel's memory: areas, debug blocks, mappings on demand, protection, and nothing lost on the way.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Host.hasKVM, "needs /dev/kvm")) struct GuestMemory {
    let bench: Bench

    init() throws {
        bench = try Bench()
        try bench.start("m", ["--memory", "64M"])
    }

    /// One number of an answer of one line.
    func number(_ line: String, _ key: String) throws -> UInt64 {
        let text = try #require(try bench.exec("m", line).first?[key], "\(line): no \(key)")
        let value = text.hasPrefix("0x") ? UInt64(text.dropFirst(2), radix: 16) : UInt64(text)
        return try #require(value)
    }

    /// What the kernel's monitor says to a command that it refuses.
    func refusal(_ line: String) throws -> String {
        let result = try bench.vitrine("exec", "m", line)
        #expect(result.status != 0, "\(line) was not refused: \(result.output)")
        return result.output + result.errors
    }

    @Test(
        arguments: [
            (1, "mempool", 0xa000), (64, "mempool", 0xa000), (1024, "mempool", 0xa000), (1025, "page", 0x9000),
            (4096, "page", 0x9000), (4097, "main", 0x8000), (65536, "main", 0x8000),
        ] as [(Int, String, UInt64)])
    func sizesAndTheirAreas(size: Int, area: String, top: UInt64) throws {
        let answer = try #require(try bench.exec("m", "alloc \(size)").first)
        #expect(answer["area"] == area)
        let va = try #require(UInt64(answer["va"]?.dropFirst(2) ?? "", radix: 16))
        let pa = try #require(UInt64(answer["pa"]?.dropFirst(2) ?? "", radix: 16))
        #expect(va == 0xffff_0000_0000_0000 | top << 32 | pa)
        try #expect(bench.exec("m", "free 0x\(String(va, radix: 16))").isEmpty)
        #expect(try refusal("free 0x\(String(va, radix: 16))").contains("not the address of an allocated block"))
    }

    @Test func allocationsAreDistinctAndComeBack() throws {
        // Two of a size class come first: its page stays in use, so that the count of pages is the same afterwards.
        _ = try number("alloc 16", "va")
        let before = try number("stats", "pages-free")
        var blocks: [UInt64] = []
        for size in [16, 16, 16, 1000, 1000, 1000, 1000, 1000, 4096, 10000, 100_000] {
            blocks.append(try number("alloc \(size)", "va"))
        }
        #expect(Set(blocks).count == blocks.count)
        for (index, block) in blocks.enumerated() { _ = try number("touch \(block) \(index)", "value") }
        for (index, block) in blocks.enumerated() { #expect(try number("touch \(block)", "value") == UInt64(index)) }
        for block in blocks.reversed() { _ = try bench.exec("m", "free \(block)") }
        #expect(try number("stats", "pages-free") == before)
    }

    @Test(arguments: [
        "alloc 0", "alloc 2000 mempool", "alloc 5000 page", "alloc 100000000000", "alloc x", "alloc", "alloc 1 attic",
        "free 0", "free 0xffff800000000000", "free 0xffff900000200000", "free 0xffffb00000002000", "debug-alloc 0",
        "map 0", "map 4096 rq", "map 4096 rw at 0x200000", "map 4096 rw at 0x10000001", "map 4096 rw at",
        "map 4096 rw at 0x7ffffffff000000", "protect 0x200000000000 4096 r", "unmap 0x200000000000 4096",
        "touch", "touch 0x1ffff8", "touch 0xffffb00000000000", "touch 0x800000000000", "touch 0xffff80007fffffff0",
        "load 0", "load x", "nonsense", String(repeating: "a", count: 300),
    ]) func refusals(line: String) throws {
        #expect(try refusal(line).count > 10, "no reason given")
        #expect(try bench.exec("m", "stage").first?["stage"] == "R")
    }

    @Test func debugBlocksAreGuardedAndNeverComeAgain() throws {
        let before = try number("stats", "pages-free")
        let answer = try #require(try bench.exec("m", "debug-alloc 5000").first)
        #expect(answer["size"] == "8192")
        let data = try #require(answer["va"])
        for (key, mapped) in [("header", true), ("guard1", false), ("va", true), ("guard2", false)] {
            let address = try #require(answer[key])
            let isMapped = try bench.vitrine("exec", "m", "touch \(address)").status == 0
            #expect(isMapped == mapped, "\(key)")
        }
        _ = try bench.exec("m", "free \(data)")
        #expect(try refusal("touch \(data)").contains("fault"))
        #expect(try refusal("free \(data)").contains("not the address"))
        #expect(try bench.exec("m", "debug-alloc 5000").first?["va"] != data)
        // The tables of the area stay, one block of three pages is in use.
        #expect(try before - number("stats", "pages-free") == 3)
    }

    @Test func pagesComeOnTouchAndGoBack() throws {
        _ = try number("map 4096", "va")
        let before = try bench.exec("m", "stats").first
        let size = 5 << 20
        let start = try number("map \(size)", "va")
        #expect(start % (2 << 20) == 0)
        #expect(try number("stats", "pages-free") == UInt64(before?["pages-free"] ?? ""))
        #expect(try bench.vitrine("translate", "m", String(start, radix: 16)).status == 1)
        // The first two slots of 2 MiB lie inside the mapping, the third does not.
        _ = try number("touch \(start + 8) 7", "value")
        _ = try number("touch \(start + 4 << 20) 8", "value")
        #expect(try number("touch \(start + 8)", "value") == 7)
        let text = try bench.vitrine("pages", "m", "--range", "\(hex(start))-\(hex(start + UInt64(size)))").output
        #expect(text.contains("2M   2M") && text.contains("4K   4K"), "\(text)")
        _ = try bench.exec("m", "unmap \(start) \(size)")
        let after = try bench.exec("m", "stats").first
        #expect(after?["pages-free"] == before?["pages-free"])
        #expect(after?["tables"] == before?["tables"])
        #expect(try refusal("touch \(start)").contains("fault"))
    }

    @Test func reusedPagesAreZero() throws {
        let first = try number("map 8192", "va")
        _ = try number("touch \(first) 0x1111", "value")
        _ = try number("touch \(first + 4096) 0x2222", "value")
        _ = try bench.exec("m", "unmap \(first) 8192")
        let second = try number("map 16384", "va")
        for page in 0..<4 { #expect(try number("touch \(second + UInt64(page) * 4096)", "value") == 0) }
    }

    @Test func protectionChangesInTheMiddle() throws {
        let size: UInt64 = 2 << 20
        let start = try number("map \(size)", "va")
        _ = try number("touch \(start) 1", "value")
        let middle = start + 0x10000
        _ = try bench.exec("m", "protect \(middle) 8192 r")
        #expect(try number("touch \(middle)", "value") == 0)
        #expect(try refusal("touch \(middle) 5").contains("code=0x3"))
        #expect(try number("touch \(middle - 8) 5", "value") == 5)
        #expect(try number("touch \(middle + 8192) 6", "value") == 6)
        _ = try bench.exec("m", "protect \(middle) 4096 none")
        #expect(try refusal("touch \(middle)").contains("fault="))
        _ = try bench.exec("m", "protect \(middle) 8192 rw")
        #expect(try number("touch \(middle) 9", "value") == 9)
        #expect(try number("touch \(start)", "value") == 1)
        // A part is unmapped, the rest stays.
        _ = try bench.exec("m", "unmap \(middle) 4096")
        #expect(try refusal("touch \(middle)").contains("fault="))
        #expect(try number("touch \(middle + 8192)", "value") == 6)
        #expect(try refusal("unmap \(start) \(size)").contains("not mapped as a whole"))
    }

    @Test func aFullArenaNamesItsSize() throws {
        let gigabyte: UInt64 = 1 << 30
        let start = try number("map \(900 * gigabyte)", "va")
        var refused = ""
        for step in 0..<900 {
            let result = try bench.vitrine("exec", "m", "touch \(start + UInt64(step) * gigabyte)")
            if result.status != 0 {
                refused = result.output + result.errors
                break
            }
        }
        #expect(refused.contains("page-table arena full: all 512 tables (2 MiB)"), "\(refused)")
        _ = try bench.exec("m", "unmap \(start) \(900 * gigabyte)")
        #expect(try number("map 4096", "va") == start)
        #expect(try number("touch \(start) 1", "value") == 1)
    }

    private func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
}
