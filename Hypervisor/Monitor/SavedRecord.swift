// What the monitor knows of a guest, in a saved guest's section.

import Glibc
import GuestMemory
import Machine
import SavedGuests
import SystemCalls

extension GuestMonitor {
    /// Its fields.
    var savedRecord: FieldWriter {
        var fields = FieldWriter()
        fields.u64(record.surplusProgramEnds)
        fields.u32(UInt32(clamping: record.programs.count))
        for (number, status) in record.programs.sorted(by: { $0.key < $1.key }) {
            fields.u8(number)
            fields.u32(UInt32(bitPattern: status))
        }
        fields.flag(record.isHalted)
        fields.text(record.heldAt?.rawValue ?? "")
        // What the kernel's monitor still owes, so that its answer is not taken for that to another command.
        fields.text(exec.owed ?? "")
        fields.block(exec.begunLine)
        return fields
    }

    /// Takes the fields.
    func restoreRecord(_ section: Section) throws(SavedGuestError) {
        var fields = section.fields
        var read = GuestRecord()
        read.surplusProgramEnds = try fields.u64("surplus program ends")
        for _ in 0..<(try fields.count("number of ended programs", limit: 256)) {
            let number = try fields.u8("number of a program")
            read.programs[number] = Int32(bitPattern: try fields.u32("status of a program"))
        }
        read.isHalted = try fields.flag("halted for ever")
        let held = try fields.text("held at")
        read.heldAt = Stage.allCases.first { $0.rawValue == held }
        guard held.isEmpty || read.heldAt != nil else { throw fields.wrong("held at", "there is no stage '\(held)'") }
        let owed = try fields.text("command under way")
        let line = try fields.block("line begun", limit: 65536)
        try fields.end()
        record = read
        if !owed.isEmpty { exec.owe(owed, begun: line) }
    }

    /// Fills the machine from a file, before anything is served.
    func restore(_ saved: SavedGuest) throws(SavedGuestError) {
        let section = try machine.fill(from: saved.reader, saved.description)
        try saved.reader.checkNothingFollows()
        finishFilling(saved.description, section)
    }
}

/// A saved guest's file, open, and what it says of its machine.
struct SavedGuest {
    let reader: SectionReader
    let description: GuestDescription

    init(_ path: String) throws(SavedGuestError) { (reader, description) = try openSavedGuest(path) }
}

/// Opens a saved guest and reads what it says of its machine.
func openSavedGuest(_ path: String) throws(SavedGuestError) -> (SectionReader, GuestDescription) {
    do throws(SavedGuestError) {
        let file: FileDescriptor
        do throws(Errno) { file = try FileDescriptor(open: path, O_RDONLY) } catch { throw .call(error) }
        let stream = TransferStream(SharedDescriptor(file))
        let reader = try SectionReader { (buffer) throws(SavedGuestError) in try stream.read(buffer) }
        return (reader, try GuestDescription(try reader.next()))
    } catch {
        if case .input(let text) = error { throw .input("\(path): \(text)") }
        throw error
    }
}
