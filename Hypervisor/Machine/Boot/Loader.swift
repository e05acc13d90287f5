// Everything that is in guest memory before the first instruction: kernel, modules, start info, boot GDT.

import Addresses
import GuestMemory
import Layouts

/// The checked files of a machine, and where they go. Files stay open, so that a reset finds them again.
final class Loader: Sendable {
    private let kernel: KernelFile
    private let modules: [BootModule]
    private let startInfo: StartInfo
    private let startInfoAddress: UInt64

    /// More programs than this are refused; the list of modules has 16 KiB.
    static let moduleLimit = 256

    /// How the kernel is entered.
    var entry: KernelEntry { kernel.entry }

    /// Opens and checks the files.
    init(_ configuration: MachineConfiguration, plan: MemoryPlan) throws(MachineError) {
        kernel = try KernelFile(InputFile(configuration.kernel, role: "kernel"), plan: plan)
        // Before the process runs out of descriptors.
        guard configuration.programs.count <= Loader.moduleLimit else {
            throw .input("\(configuration.programs.count) programs are too many: at most \(Loader.moduleLimit)")
        }
        var files: [InputFile] = []
        if let initrd = configuration.initrd { files.append(try InputFile(initrd, role: "initrd")) }
        for program in configuration.programs { files.append(try InputFile(program, role: "program")) }
        modules = try Loader.place(files, plan: plan, kernelEnd: kernel.end)
        var line = "layout=\(configuration.layout) cpus=\(configuration.vcpus)"
        if !configuration.commandLine.isEmpty { line += " " + configuration.commandLine }
        startInfoAddress = plan.startInfo.lowerBound
        startInfo = try StartInfo(plan: plan, commandLine: line, modules: modules)
    }

    /// Places modules page-aligned at the top of the RAM below 3 GiB that the layout uses, in order.
    private static func place(
        _ files: [InputFile], plan: MemoryPlan, kernelEnd: UInt64
    ) throws(MachineError) -> [BootModule] {
        guard !files.isEmpty else { return [] }
        let top = plan.modulesEnd
        var floor = max(kernelEnd <= top ? kernelEnd : 0, plan.startInfo.upperBound)
        if let arena = plan.arena { floor = max(floor, arena.start + arena.size) }
        let room = top - min(top, (floor + 4095) & ~4095)
        var total: UInt64 = 0
        for file in files {
            guard file.size <= room, total <= room - file.size, (total + file.size + 4095) & ~4095 <= room else {
                throw .input(
                    "\(file.role) \(file.path), \(file.size) bytes, does not fit: \(formatSize(room)) of RAM below 3 GiB "
                        + "are free for files; give the guest more with --memory")
            }
            total = (total + file.size + 4095) & ~4095
        }
        var address = (top - total) & ~4095
        var modules: [BootModule] = []
        for file in files {
            modules.append(BootModule(file: file, address: address))
            address = (address + file.size + 4095) & ~4095
        }
        return modules
    }

    /// Fills the guest's memory, which is zeros.
    func load(into ram: GuestRAM) throws(MachineError) {
        try kernel.load(into: ram)
        for module in modules {
            guard let pieces = ram.pieces(at: GPA(module.address), count: module.file.size) else {
                throw .input("\(module.file.role) \(module.file.path) does not lie in RAM")
            }
            var offset: UInt64 = 0
            for piece in pieces {
                try module.file.read(at: offset, into: piece, "its content")
                offset += UInt64(piece.count)
            }
        }
        var gdt = LittleEndianBytes()
        for descriptor in KernelEntry.gdt { gdt.append64(descriptor) }
        guard ram.write(gdt.bytes, at: GPA(Contract.bootGDT)), ram.write(startInfo.bytes, at: GPA(startInfoAddress))
        else { throw .input("the guest has no RAM at the start info") }
    }
}
