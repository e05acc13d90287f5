// KVM's tables by what KVM said while it made them: the events kvm_tdp_mmu_spte_changed, recorded from before the VM was made,
// are added up and compared with a walk of the tables.
//
//     as id 0 gfn 1a2 level 1 old_spte 0 new_spte 8600000012345f77     one entry less of the old value, one more of the new
//
// Adding up needs no order: events of two processors may be recorded the wrong way round. An entry that is not in use counts
// for nothing, whatever its value. Accessed and dirty bits are the processor's to set, without an event.

import Addresses
import Glibc
import SecondStage
import SystemCalls

/// An entry in use: where it is and what it holds.
private struct Place: Hashable {
    let isSystemManagement: Bool
    let level: UInt8
    let frame: UInt64
    let entry: UInt64
}

/// What the events add up to.
private struct Replay {
    var events = 0
    var leaves: [Place: Int] = [:]
    /// Entries that refer to tables.
    var links: [Place: Int] = [:]
    let decoder: SecondStageDecoder

    /// The bits that the processor sets: A and D (AMD APM volume 2, 5.4; with EPT bits 8 and 9, Intel SDM volume 3, 29.3.5).
    var mask: UInt64 { decoder.format == .ept ? ~(3 << 8) : ~(3 << 5) }

    mutating func add(_ value: UInt64, _ count: Int, asID: UInt64, frame: UInt64, level: UInt64) {
        let level = UInt8(truncatingIfNeeded: level)
        let place = Place(isSystemManagement: asID == 1, level: level, frame: frame, entry: value & mask)
        switch decoder.decode(value, level: Int(level)) {
        case .leaf: leaves[place, default: 0] += count
        case .table: links[place, default: 0] += count
        default: break
        }
    }

    /// Adds one line of the trace; false if it is an event that cannot be read.
    mutating func add(line: ArraySlice<UInt8>) -> Bool {
        let words = line.split(separator: 32)
        guard let name = words.firstIndex(where: { $0.elementsEqual("kvm_tdp_mmu_spte_changed:".utf8) }) else {
            return true
        }
        func number(after word: StaticString, radix: UInt64 = 16) -> UInt64? {
            word.withUTF8Buffer { word in
                guard let place = words[name...].firstIndex(where: { $0.elementsEqual(word) }), place + 1 < words.count
                else { return nil }
                return parse(words[place + 1], radix: radix)
            }
        }
        guard let asID = number(after: "id"), let frame = number(after: "gfn"),
            let level = number(after: "level", radix: 10), let old = number(after: "old_spte"),
            let new = number(after: "new_spte")
        else { return false }
        events += 1
        add(old, -1, asID: asID, frame: frame, level: level)
        add(new, 1, asID: asID, frame: frame, level: level)
        return true
    }
}

/// A number in digits of up to 16 values; nil if there is anything else.
private func parse(_ digits: ArraySlice<UInt8>, radix: UInt64) -> UInt64? {
    var value: UInt64 = 0
    for digit in digits {
        let number: UInt64
        switch digit {
        case 0x30...0x39: number = UInt64(digit - 0x30)
        case 0x61...0x66: number = UInt64(digit - 0x61 + 10)
        default: return nil
        }
        guard number < radix else { return nil }
        value = value &* radix &+ number
    }
    return digits.isEmpty ? nil : value
}

/// Compares the events of a trace with the tables of a process's VM, the only one while the trace was recorded.
func witnessReplay(process: Int32, trace: String) -> Int32 {
    do {
        let vm = try KernelVM.open(process: process)
        // Between two readings of the trace that are alike nothing changed: then the walk and the events are of one state.
        for _ in 0..<50 {
            let before = try Files.contents(of: trace, limit: 256 << 20)
            let tables = try vm.tables()
            guard try Files.contents(of: trace, limit: 256 << 20) == before else {
                usleep(100_000)
                continue
            }
            return compare(before, tables)
        }
        leave(1, "the tables changed each time they were read")
    } catch {
        leave(4, "\(error)")
    }
}

private func compare(_ trace: [UInt8], _ tables: KernelTables) -> Int32 {
    var replay = Replay(decoder: tables.decoder)
    for line in trace.split(separator: 10) where !replay.add(line: line) {
        leave(4, "not understood: \(String(decoding: line, as: UTF8.self))")
    }
    var walked: [Place: Int] = [:]
    for mapping in tables.mappings {
        let isManagement = tables.roots[Int(mapping.root)].isSystemManagement
        let place = Place(
            isSystemManagement: isManagement, level: mapping.level, frame: mapping.gpa.rawValue >> 12,
            entry: mapping.entry & replay.mask)
        walked[place, default: 0] += 1
    }
    let replayed = replay.leaves.filter { $0.value != 0 }
    var different = 0
    for place in Set(replayed.keys).union(walked.keys) where replayed[place] != walked[place] {
        different += 1
        if different <= 20 {
            say(
                "level \(place.level) gfn \(GPA(place.frame).hex) entry \(GPA(place.entry).hex): \(replayed[place] ?? 0) by the "
                    + "events, \(walked[place] ?? 0) in the tables")
        }
    }
    // A root has no entry that refers to it.
    let links = replay.links.values.reduce(0, +)
    let below = tables.tables.count - tables.roots.count
    if links != below { say("\(links) tables by the events, \(below) below the roots") }
    say(
        "\(replay.events) events, \(replayed.values.reduce(0, +)) leaves and \(links) tables by them; "
            + "\(tables.mappings.count) leaves and \(below) tables in the walk; \(different) differ")
    return different == 0 && links == below && replay.events > 0 ? 0 : 1
}
