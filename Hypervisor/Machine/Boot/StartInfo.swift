// What the kernel is told: Xen's hvm_start_info version 1 (xen/include/public/arch-x86/hvm/start_info.h), the same for
// both protocols.
//
//     0x9000  start info (56 bytes) | memory map (24 each) | modules (32 each) | command line | module names   0xd000
//
// A layout whose kernel lies there has it elsewhere (KernelPlan.startInfo).

import Addresses
import GuestMemory
import Layouts

/// A file that is handed to the kernel.
struct BootModule {
    let file: InputFile
    /// Where it lies in guest memory, page-aligned.
    let address: UInt64
}

/// The start info and what it refers to.
struct StartInfo {
    /// What is written at the beginning of `MemoryPlan.startInfo`.
    let bytes: [UInt8]

    /// Builds the start info.
    ///
    /// - Parameter commandLine: at most `Contract.commandLineLimit` bytes, without NUL.
    init(plan: MemoryPlan, commandLine: String, modules: [BootModule]) throws(MachineError) {
        let line = Array(commandLine.utf8)
        guard line.count <= Contract.commandLineLimit else {
            throw .input("the kernel's command line has \(line.count) bytes: at most \(Contract.commandLineLimit)")
        }
        guard !line.contains(0) else { throw .input("the kernel's command line contains a NUL byte") }
        var map: [(UInt64, UInt64)] = [(0, plan.lowEnd)]
        if plan.highSize > 0 { map.append((Contract.holeEnd, plan.highSize)) }

        let base = plan.startInfo.lowerBound
        let mapAddress = base + 56
        let moduleAddress = mapAddress + UInt64(map.count * 24)
        let lineAddress = moduleAddress + UInt64(modules.count * 32)
        var textAddress = lineAddress + UInt64(line.count + 1)

        var info = LittleEndianBytes()
        info.append32(Contract.startInfoMagic)
        info.append32(1)
        info.append32(0)
        info.append32(UInt32(modules.count))
        info.append64(modules.isEmpty ? 0 : moduleAddress)
        info.append64(lineAddress)
        info.append64(0)  // no ACPI tables
        info.append64(mapAddress)
        info.append32(UInt32(map.count))
        info.append32(0)
        for (start, size) in map {
            info.append64(start)
            info.append64(size)
            info.append32(1)
            info.append32(0)
        }
        var names: [UInt8] = []
        for module in modules {
            info.append64(module.address)
            info.append64(module.file.size)
            info.append64(textAddress)
            info.append64(0)
            let name = Array(module.file.name.utf8) + [0]
            names += name
            textAddress += UInt64(name.count)
        }
        guard textAddress <= plan.startInfo.upperBound else {
            throw .input(
                "\(modules.count) modules are too many: their list does not fit the start info of "
                    + formatSize(UInt64(plan.startInfo.count)))
        }
        bytes = info.bytes + line + [0] + names
    }
}

/// Numbers as the processor lays them out.
struct LittleEndianBytes {
    private(set) var bytes: [UInt8] = []
    mutating func append32(_ value: UInt32) { withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) } }
    mutating func append64(_ value: UInt64) { withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) } }
}
