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
    mutating func add(line: Substring) -> Bool {
        guard let name = line.firstRange(of: "kvm_tdp_mmu_spte_changed: ") else { return true }
        let words = line[name.upperBound...].split(separator: " ")
        func number(after word: Substring, radix: Int = 16) -> UInt64? {
            guard let place = words.firstIndex(of: word), place + 1 < words.count else { return nil }
            return UInt64(words[place + 1], radix: radix)
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

/// Compares the events of a trace with the tables of a process's VM, the only one while the trace was recorded.
func witnessReplay(process: Int32, trace: String) -> Int32 {
    do {
        let vm = try KernelVM.open(process: process)
        // Between two readings of the trace that are alike nothing changed: then the walk and the events are of one state.
        for _ in 0..<50 {
            let before = try lines(of: trace)
            let tables = try vm.tables()
            guard try lines(of: trace) == before else {
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

private func compare(_ lines: [Substring], _ tables: KernelTables) -> Int32 {
    var replay = Replay(decoder: tables.decoder)
    for line in lines where !replay.add(line: line) { leave(4, "not understood: \(line)") }
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

private func lines(of path: String) throws(Errno) -> [Substring] {
    let bytes = try Files.contents(of: path, limit: 256 << 20)
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").filter { !$0.hasPrefix("#") }
}
