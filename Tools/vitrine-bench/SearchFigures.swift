// Looking through a guest's memory, beside a loop that only adds the same bytes up.

import Addresses
import Glibc
import GuestMemory
import Inspection
import PageTables
import Targets

/// 2 GiB of RAM that is mapped in pages of 2 MiB, filled with random words: what is looked for is at its end alone.
func searchRows(floorProgram: String, rounds: Int) -> [Row] {
    let size: UInt64 = 2 << 30
    let tables: UInt64 = 0x1000
    guard let ram = try? GuestRAM([RAMRange(name: "low", start: GPA(0), size: size)]),
        let backings = try? ram.readOnlyBackings(), let backing = backings.first,
        let memory = try? MappedMemory(slots: ram.slots, backings: backings),
        let bytes = ram.hostMemory(at: GPA(0), count: size)
    else { return [Row(what: "search", measured: "no memory for it", goal: "-", met: nil)] }
    let words = bytes.bindMemory(to: UInt64.self)
    var random: UInt64 = 0x9e37_79b9_7f4a_7c15
    for index in 0..<Int(size / 8) {
        random ^= random << 13
        random ^= random >> 7
        random ^= random << 17
        words[index] = random
    }
    for index in 0..<3 * 512 { words[Int(tables / 8) + index] = 0 }
    words[Int(tables / 8)] = (tables + 0x1000) | X86Bit.present | X86Bit.writable
    for directory in 0..<2 as Range<UInt64> {
        words[Int(tables / 8 + 512 + directory)] = (tables + 0x2000 + directory * 0x1000) | X86Bit.present
        for index in 0..<512 as Range<UInt64> {
            words[Int(tables / 8 + 1024 + directory * 512 + index)] =
                (directory * 512 + index) << 21 | X86Bit.present | X86Bit.pageSize
        }
    }
    let text = "a text that random words do not have"
    var last = size - 64
    for byte in text.utf8 {
        bytes.storeBytes(of: byte, toByteOffset: Int(last), as: UInt8.self)
        last += 1
    }
    let subject = Subject(
        name: "bench", layout: nil, slots: ram.slots, memory: .live(.mapped(memory)), format: .x86FourLevel(),
        root: GPA(tables))

    /// Gigabytes a second of the best round.
    func speed(_ text: String) -> Double {
        guard let pattern = try? SearchPattern(parsing: text) else { stop("\(text) is no pattern") }
        var best = Double.infinity
        for _ in 0..<rounds {
            let start = processorTime()
            let result = searchMemory(
                of: subject, for: pattern, alignment: pattern.alignment, memory: .mapped(memory))
            best = min(best, processorTime() - start)
            guard result.bytes == size, result.count == 1 else { stop("the search for \(text) is wrong") }
        }
        return Double(size) / best / 1e9
    }

    guard
        let sum = run([
            floorProgram, "sum", "/proc/\(getpid())/fd/\(backing.descriptor.rawValue)", "\(size)", "0", "\(size >> 12)",
        ]), sum.status == 0,
        let nanoseconds = String(decoding: sum.output, as: UTF8.self).split(separator: " ").first.flatMap({ Double($0) }
        )
    else { stop("\(floorProgram) sum does not run") }
    let reference = Double(size) / nanoseconds
    var end: UInt64 = 0
    withUnsafeMutableBytes(of: &end) { for (index, byte) in text.utf8.prefix(8).enumerated() { $0[index] = byte } }
    return [("a text", text), ("a number at multiples of 8", "u64:\(end)")].map { what, pattern in
        let speed = speed(pattern)
        return Row(
            what: "search 2 GiB behind mappings for \(what)", measured: fixed(speed) + " GB/s",
            reference: fixed(reference) + " GB/s sum", ratio: fixed(speed / reference), goal: ">= 1 GB/s",
            met: speed >= 1)
    }
}
