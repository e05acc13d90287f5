// Compiles the BPF programs of SecondStage with the toolchain's own clang, for the bpf target, into a Swift file that
// holds the object file.

import Foundation
import PackagePlugin

@main struct CompileBPF: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let folder = context.package.directoryURL.appending(path: "Hypervisor/SecondStage/BPF")
        let source = folder.appending(path: "kernel-reader.bpf.c")
        let script = folder.appending(path: "build.sh")
        let output = context.pluginWorkDirectoryURL.appending(path: "KernelReaderObject.swift")
        return [
            .buildCommand(
                displayName: "Compiling the BPF programs",
                executable: URL(fileURLWithPath: "/bin/sh"),
                arguments: [
                    script.path, source.path, output.path,
                    try context.tool(named: "clang").url.path,
                    try context.tool(named: "llvm-objcopy").url.path,
                ],
                inputFiles: [source, script],
                outputFiles: [output])
        ]
    }
}
