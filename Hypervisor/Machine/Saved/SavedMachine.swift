// What is read of a saved guest before any of it counts.

import Addresses
import KVM
import SavedGuests

/// Everything of a saved guest but its RAM, read and checked, not yet applied.
struct SavedMachine {
    var processor: CPUID?
    var vcpus: [SavedVCPU] = []
    var chips: VirtualMachine.SavedChips?
    var devices: SavedDevices?
    var progress: SavedProgress?
    var snapshots: [StageSnapshot] = []
    var monitor: Section?

    /// Takes a section that is not RAM; each comes once, vCPUs in order.
    mutating func take(_ section: Section, vcpus count: Int) throws(SavedGuestError) {
        var fields = section.fields
        var isRepeated = false
        switch section.kind {
        case .processor:
            isRepeated = processor != nil
            processor = try CPUID(&fields)
        case .vcpu:
            let number = try fields.u32("number")
            guard number == vcpus.count, vcpus.count < count else {
                throw fields.wrong("number", "vCPU \(number) after \(vcpus.count) of \(count)")
            }
            vcpus.append(try SavedVCPU(&fields))
        case .chips:
            isRepeated = chips != nil
            chips = try VirtualMachine.SavedChips(&fields)
        case .devices:
            isRepeated = devices != nil
            devices = try SavedDevices(&fields)
        case .progress:
            isRepeated = progress != nil
            progress = try SavedProgress(&fields)
        case .stageTables:
            guard snapshots.count < Stage.allCases.count else {
                throw fields.wrong("stage tables", "more than there are stages")
            }
            let snapshot = try StageSnapshot(&fields)
            isRepeated = snapshots.contains { $0.stage == snapshot.stage }
            snapshots.append(snapshot)
        case .monitor:
            isRepeated = monitor != nil
            monitor = section
            // Its fields are the monitor's to read.
            _ = try fields.raw(section.bytes.count, "all")
        case .description, .ram, .end:
            throw .input("the section \(section.kind.name) at byte \(section.offset) is out of place")
        }
        guard !isRepeated else {
            throw .input("the section \(section.kind.name) at byte \(section.offset) is there twice")
        }
        try fields.end()
    }
}

extension SavedMachine {
    /// All of it, each part there.
    struct Whole {
        let processor: CPUID
        let vcpus: [SavedVCPU]
        let chips: VirtualMachine.SavedChips
        let devices: SavedDevices
        let progress: SavedProgress
        let snapshots: [StageSnapshot]
        let monitor: Section

        /// Reads up to the end; the description was read.
        ///
        /// - Parameter ram: gets runs of RAM, by ascending address, each inside a slot of the description.
        init(
            _ reader: SectionReader, _ description: GuestDescription,
            ram: (GPA, [UInt8]) throws(SavedGuestError) -> Void
        ) throws(SavedGuestError) {
            var saved = SavedMachine()
            var next: UInt64 = 0
            while true {
                let section = try reader.next()
                if section.kind == .end { break }
                guard section.kind == .ram else {
                    try saved.take(section, vcpus: description.vcpus)
                    continue
                }
                let (address, pages) = try SavedMachine.run(section, after: next, description)
                next = address.rawValue &+ UInt64(pages.count)
                try ram(address, pages)
            }
            guard let processor = saved.processor, let chips = saved.chips, let devices = saved.devices,
                let progress = saved.progress, let monitor = saved.monitor, saved.vcpus.count == description.vcpus
            else {
                let found: [(String, Bool)] = [
                    ("processor", saved.processor != nil), ("chips", saved.chips != nil),
                    ("devices", saved.devices != nil), ("progress", saved.progress != nil),
                    ("monitor", saved.monitor != nil), ("vCPU", saved.vcpus.count == description.vcpus),
                ]
                let missing = found.filter { !$0.1 }.map(\.0).joined(separator: ", ")
                throw .input("sections are missing before the end at byte \(reader.offset): \(missing)")
            }
            self.processor = processor
            self.vcpus = saved.vcpus
            self.chips = chips
            self.devices = devices
            self.progress = progress
            self.snapshots = saved.snapshots
            self.monitor = monitor
        }
    }

    /// A run of RAM's pages, which follows what came before and lies in a slot.
    private static func run(
        _ section: Section, after next: UInt64, _ description: GuestDescription
    ) throws(SavedGuestError) -> (GPA, [UInt8]) {
        var fields = section.fields
        let address = try fields.u64("address")
        let pages = fields.rest
        let size = UInt64(pages.count)
        let isInside = description.slots.contains { slot in
            address >= slot.address && size <= slot.size && address - slot.address <= slot.size - size
        }
        guard address & 4095 == 0, size != 0, size & 4095 == 0, address >= next, isInside else {
            throw fields.wrong("address", "\(GPA(address).hex), \(size) bytes, after \(GPA(next).hex)")
        }
        return (GPA(address), pages)
    }
}

/// Reads a whole saved guest without being it: whatever is wrong with it is found, but for what the host cannot do.
///
/// - Returns: what it says of its machine.
public func checkSavedGuest(_ reader: SectionReader) throws(SavedGuestError) -> GuestDescription {
    let description = try GuestDescription(try reader.next())
    _ = try SavedMachine.Whole(reader, description) { _, _ in }
    try reader.checkNothingFollows()
    return description
}

/// The devices on ports.
struct SavedDevices {
    var console: SavedSerialPort
    var monitorPort: SavedSerialPort
    var request: UInt8

    init(_ fields: inout FieldReader) throws(SavedGuestError) {
        console = try SavedSerialPort(&fields, "COM1")
        monitorPort = try SavedSerialPort(&fields, "COM2")
        request = try fields.u8("request port")
    }
}

/// How far the guest has come.
struct SavedProgress {
    var nanoseconds: UInt64
    var instructions: UInt64?
    var haltTold: Bool
    var stages: [StageReport] = []
    var unknownReads: UInt64
    var unknownWrites: UInt64
    var unbackedReads: UInt64
    var unbackedWrites: UInt64
    var protocolErrors: UInt64

    init(_ fields: inout FieldReader) throws(SavedGuestError) {
        nanoseconds = try fields.u64("time since the start")
        instructions = try fields.flag("counts instructions") ? try fields.u64("instructions") : nil
        haltTold = try fields.flag("halted for ever")
        for number in 0..<(try fields.count("number of stages", limit: Stage.allCases.count)) {
            let stage = try Stage(&fields)
            guard stage.order == number + 1 else { throw fields.wrong("stage", "\(stage.rawValue) is out of order") }
            let count = try fields.flag("counts instructions") ? try fields.u64("instructions of a stage") : nil
            stages.append(
                StageReport(stage: stage, instructions: count, nanoseconds: try fields.u64("time of a stage")))
        }
        unknownReads = try fields.u64("reads of unknown ports")
        unknownWrites = try fields.u64("writes to unknown ports")
        unbackedReads = try fields.u64("reads without RAM")
        unbackedWrites = try fields.u64("writes without RAM")
        protocolErrors = try fields.u64("protocol errors")
    }
}

extension Stage {
    fileprivate init(_ fields: inout FieldReader) throws(SavedGuestError) {
        let order = try fields.u8("stage")
        guard let stage = Stage.allCases.first(where: { $0.order == Int(order) }) else {
            throw fields.wrong("stage", "\(order)")
        }
        self = stage
    }
}

extension StageSnapshot {
    fileprivate init(_ fields: inout FieldReader) throws(SavedGuestError) {
        let stage = try Stage(&fields)
        let cr3 = try fields.u64("CR3")
        let truncated = try fields.flag("truncated")
        var pages: [(address: GPA, bytes: [UInt8])] = []
        for _ in 0..<(try fields.count("number of tables", limit: StageSnapshot.tableLimit)) {
            let address = try fields.u64("address of a table")
            pages.append((GPA(address), try fields.raw(4096, "a table")))
        }
        self.init(stage: stage, cr3: cr3, pages: pages, truncated: truncated)
    }
}
