// Saving and restoring whole machines, and saved guests that are none.

import Addresses
import GuestMemory
import KVM
import Machine
import SavedGuests
import SystemCalls
import TestSupport
import Testing

/// A saved guest in memory.
private final class SavedBytes {
    var bytes: [UInt8]
    private var place = 0

    init(_ bytes: [UInt8] = []) { self.bytes = bytes }

    func writer() throws(SavedGuestError) -> SectionWriter {
        try SectionWriter { (more) throws(SavedGuestError) in self.bytes += Array(more) }
    }

    func reader() throws(SavedGuestError) -> SectionReader {
        place = 0
        return try SectionReader { (buffer) throws(SavedGuestError) in
            let count = min(buffer.count, self.bytes.count - self.place)
            buffer.copyBytes(from: self.bytes[self.place..<self.place + count])
            self.place += count
            return count
        }
    }

    /// Its sections without the last.
    func sections() throws(SavedGuestError) -> [Section] {
        let reader = try reader()
        var sections: [Section] = []
        while true {
            let section = try reader.next()
            if section.kind == .end { return sections }
            sections.append(section)
        }
    }

    /// Sections in a frame that is right.
    static func of(_ sections: [(kind: SectionKind, bytes: [UInt8])]) throws -> SavedBytes {
        let saved = SavedBytes()
        let writer = try saved.writer()
        for section in sections {
            var fields = FieldWriter()
            fields.raw(section.bytes)
            try writer.section(section.kind, fields)
        }
        try writer.end()
        return saved
    }
}

private func outcome(_ saved: SavedBytes) -> SavedGuestError? {
    do throws(SavedGuestError) {
        _ = try checkSavedGuest(try saved.reader())
        return nil
    } catch { return error }
}

@Suite(.enabled(if: hasKVM, "needs /dev/kvm")) struct SavedMachines {
    /// A guest that counts at 0x40_0000 for ever, with three ports' worth of state.
    private static func counter(vcpus: Int = 2) throws -> RunningMachine {
        try RunningMachine(
            TestKernel(
                Code {
                    $0.print("before")
                    $0.stage("A")
                    $0.movECX(0)
                    // inc ecx; mov [0x400000], ecx; jmp back
                    $0.raw(0xff, 0xc1, 0x89, 0x0c, 0x25, 0x00, 0x00, 0x40, 0x00, 0xeb, 0xf5)
                }.bytes), vcpus: vcpus)
    }

    private static func save(_ guest: RunningMachine, _ name: String = "x") throws -> SavedBytes {
        let saved = SavedBytes()
        try guest.machine.save(
            to: try saved.writer(), guest.machine.description(name: name, wasRunning: true), monitor: FieldWriter())
        return saved
    }

    /// A machine for a saved guest, started and empty.
    private static func empty(_ description: GuestDescription) throws -> Machine {
        let machine = try Machine(
            MachineConfiguration(description), system: KVMSystem(), incoming: true, events: { _ in })
        try machine.start()
        return machine
    }

    @Test func aMachineGoesOn() throws {
        let guest = try SavedMachines.counter()
        #expect(guest.waitForWord(0x40_0000) { $0 > 1000 })
        guest.machine.pause()
        let before = try #require(guest.word(0x40_0000))
        let saved = try SavedMachines.save(guest)
        let registers = try guest.machine.registers(vcpu: 0)
        let description = try checkSavedGuest(try saved.reader())
        #expect(description.name == "x" && description.vcpus == 2 && description.wasRunning)

        let machine = try SavedMachines.empty(description)
        defer { machine.terminate() }
        let reader = try saved.reader()
        let read = try GuestDescription(try reader.next())
        _ = try machine.fill(from: reader, read)
        #expect(machine.state == .paused && machine.stage == .A)
        #expect(machine.snapshot(of: .A)?.cr3 == guest.machine.snapshot(of: .A)?.cr3)
        #expect(try machine.registers(vcpu: 0) == registers)
        #expect(machine.console.takeOutput() == Array("before".utf8))
        func word() -> UInt32 {
            machine.ram.page(at: GPA(0x40_0000))?.loadUnaligned(fromByteOffset: 0, as: UInt32.self) ?? 0
        }
        #expect(word() == before)
        machine.resume()
        for _ in 0..<2000 where word() == before { sleepThread(milliseconds: 5) }
        #expect(word() > before)
        // It cannot be filled again.
        machine.pause()
        let second = try saved.reader()
        let again = try GuestDescription(try second.next())
        #expect(throws: SavedGuestError.self) { try machine.fill(from: second, again) }
    }

    /// A running machine, or one that has ended, is not saved.
    @Test func onlyWhatStandsIsSaved() throws {
        let guest = try SavedMachines.counter(vcpus: 1)
        #expect(guest.waitForWord(0x40_0000) { $0 > 10 })
        #expect(throws: SavedGuestError.self) { try SavedMachines.save(guest) }
    }

    @Test func partsThatAreMissingTwiceOrWrong() throws {
        let guest = try SavedMachines.counter()
        #expect(guest.waitForWord(0x40_0000) { $0 > 10 })
        guest.machine.pause()
        let saved = try SavedMachines.save(guest)
        let sections = try saved.sections().map { (kind: $0.kind, bytes: $0.bytes) }
        #expect(outcome(try SavedBytes.of(sections)) == nil)
        // Cut at every section, and within the first bytes of each.
        let offsets = try saved.sections().map { Int($0.offset) }
        for offset in offsets + [saved.bytes.count] {
            for cut in [offset - 25, offset - 24, offset - 1] where cut >= 0 && cut < saved.bytes.count {
                #expect(outcome(SavedBytes(Array(saved.bytes.prefix(cut))))?.description.contains("cut short") == true)
            }
        }
        for (index, section) in sections.enumerated() {
            var other = sections
            other.remove(at: index)
            // RAM that is missing is RAM of zeros, and so are tables of stages that were not kept.
            if section.kind != .ram && section.kind != .stageTables {
                #expect(outcome(try SavedBytes.of(other)) != nil, "\(section.kind) missing")
            }
            other = sections
            other.insert(section, at: index)
            #expect(outcome(try SavedBytes.of(other)) != nil, "\(section.kind) twice")
            for size in [0, section.bytes.count / 2, section.bytes.count - 1]
            where size >= 0 && size < section.bytes.count {
                other = sections
                other[index].bytes = Array(section.bytes.prefix(size))
                if section.kind != .monitor {
                    #expect(outcome(try SavedBytes.of(other)) != nil, "\(section.kind), \(size) bytes")
                }
            }
        }
        // Whatever the fields are, it is read or refused.
        var random = Random(seed: 3)
        let small = sections.filter { $0.kind != .ram && $0.kind != .stageTables }
        for _ in 0..<1000 {
            var other = small
            let index = Int.random(in: 0..<other.count, using: &random)
            guard !other[index].bytes.isEmpty else { continue }
            let place = Int.random(in: 0..<min(512, other[index].bytes.count), using: &random)
            other[index].bytes[place] = UInt8.random(in: 0...255, using: &random)
            _ = outcome(try SavedBytes.of(other))
        }
    }

    /// What fits the format but not this host or this machine is named.
    @Test func whatDoesNotFitIsNamed() throws {
        let guest = try SavedMachines.counter(vcpus: 1)
        #expect(guest.waitForWord(0x40_0000) { $0 > 10 })
        guest.machine.pause()
        let saved = try SavedMachines.save(guest)
        let description = try checkSavedGuest(try saved.reader())
        func refusal(_ saved: SavedBytes, _ change: (inout GuestDescription) -> Void = { _ in }) throws -> String {
            var own = description
            change(&own)
            let machine = try SavedMachines.empty(own)
            defer { machine.terminate() }
            let reader = try saved.reader()
            let read = try GuestDescription(try reader.next())
            do throws(SavedGuestError) {
                _ = try machine.fill(from: reader, read)
                return "accepted"
            } catch {
                #expect(machine.state == .crashed)
                return error.description
            }
        }
        #expect(try refusal(saved) == "accepted")
        #expect(try refusal(saved) { $0.memory = 128 << 20 }.contains("64M"))
        #expect(try refusal(saved) { $0.vcpus = 2 }.contains("vCPUs"))
        #expect(try refusal(saved) { $0.layout = "osc" }.contains("layout"))
        // A processor with a feature that none has: bit 10 of leaf 7's EDX... is reserved here, so all of them at once.
        var sections = try saved.sections().map { (kind: $0.kind, bytes: $0.bytes) }
        let index = try #require(sections.firstIndex { $0.kind == .processor })
        // Leaves of 4 + 40 bytes after their number: function, index, flags, EAX, EBX, ECX, EDX.
        for start in stride(from: 8, to: sections[index].bytes.count - 39, by: 44)
        where Array(sections[index].bytes[start..<start + 4]) == [1, 0, 0, 0] {
            for byte in 20..<24 { sections[index].bytes[start + byte] = 0xff }
        }
        let named = try refusal(try SavedBytes.of(sections))
        #expect(named.contains("processor features") && named.contains("CPUID 0x1.0 ecx bit"), "\(named)")
    }
}
