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
            snapshots.append(try StageSnapshot(&fields))
        case .monitor:
            isRepeated = monitor != nil
            monitor = section
            return
        case .description, .ram, .end:
            throw .input("the section \(section.kind.name) at byte \(section.offset) is out of place")
        }
        guard !isRepeated else {
            throw .input("the section \(section.kind.name) at byte \(section.offset) is there twice")
        }
        try fields.end()
    }
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
