// `memsave` and `pmemsave`: pieces of guest memory into a file, which is how libvirt peeks.

import Addresses
import Glibc
import GuestMemory
import JSON
import Machine
import PageTables
import SystemCalls

extension QMPCommand {
    static var memoryFiles: [QMPCommand] {
        [
            QMPCommand(name: "pmemsave") { (monitor, arguments, _) throws(QMPError) in
                let start = try arguments.bits("val")
                let size = try arguments.bits("size")
                let path = try arguments.text("filename")
                try arguments.end()
                let memory = monitor.machine.ram
                try saveMemory(start, size, try monitor.openMemoryFile(path)) { memory.page(at: GPA($0)) }
                return .done
            },
            QMPCommand(name: "memsave") { (monitor, arguments, _) throws(QMPError) in
                let start = try arguments.bits("val")
                let size = try arguments.bits("size")
                let path = try arguments.text("filename")
                let vcpu = try arguments.int("cpu-index", in: 0..<monitor.options.machine.vcpus, default: 0)
                try arguments.end()
                let memory = monitor.machine.ram
                let state: PagingState
                do throws(MachineError) { state = try monitor.machine.view(vcpu: vcpu).paging } catch {
                    throw .generic(error.description)
                }
                try saveMemory(start, size, try monitor.openMemoryFile(path)) {
                    HumanPages.physical($0, state, memory).flatMap { memory.page(at: GPA($0)) }
                }
                return .done
            },
        ]
    }
}

extension GuestMonitor {
    /// The file of a memory peek.
    fileprivate func openMemoryFile(_ path: String) throws(QMPError) -> SharedDescriptor {
        try openFile(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY)
    }
}

/// Writes memory into a file, page by page: what is asked for may be as large as the guest.
private func saveMemory(
    _ start: UInt64, _ size: UInt64, _ file: SharedDescriptor, page: (UInt64) -> UnsafeRawPointer?
) throws(QMPError) {
    guard size > 0, !start.addingReportingOverflow(size &- 1).overflow else {
        throw .generic("'val' and 'size': no such range of addresses")
    }
    do throws(Errno) {
        var done: UInt64 = 0
        while done < size {
            let at = start &+ done
            let count = min(4096 - at & 4095, size - done)
            guard let page = page(at) else {
                // The message that QEMU has for this, which managers show.
                throw Errno(EFAULT, "memory at 0x\(String(at, radix: 16)) is not there")
            }
            try file.descriptor.writeAll(Array(UnsafeRawBufferPointer(start: page + Int(at & 4095), count: Int(count))))
            done += count
        }
    } catch {
        throw .generic("\(error)")
    }
}
