// Compiles the guest kernel and the guest programs with the same toolchain as the host's tools, so that one
// `swift build` makes everything. The work is done by Images/build-images.sh; this names its inputs and its output.
//
// The images themselves are not declared as outputs: a declared ELF file would become a bundled resource, whose
// generated accessor imports Foundation and holds an absolute path. What is declared is a Swift file that names the
// images; the images lie beside it.

import Foundation
import PackagePlugin

@main struct BuildGuestImages: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let root = context.package.directoryURL
        let output = context.pluginWorkDirectoryURL
        let script = root.appending(path: "Images/build-images.sh")
        let sources = ["GuestKernel", "Images", "Hypervisor/Addresses", "Hypervisor/Layouts"].flatMap { folder in
            files(below: root.appending(path: folder))
        }
        return [
            .buildCommand(
                displayName: "Building the guest images",
                executable: URL(fileURLWithPath: "/bin/sh"),
                arguments: [
                    script.path, root.path, output.path,
                    try context.tool(named: "swiftc").url.path,
                    try context.tool(named: "clang").url.path,
                    try context.tool(named: "ld.lld").url.path,
                ],
                inputFiles: sources,
                outputFiles: [output.appending(path: "BuiltImages.swift")])
        ]
    }

    /// Every regular file below a folder, in a stable order.
    private func files(below folder: URL) -> [URL] {
        let enumerator = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: [.isRegularFileKey])
        var found: [URL] = []
        while let file = enumerator?.nextObject() as? URL {
            if (try? file.resourceValues(forKeys: [.isRegularFileKey]).isRegularFile) == true { found.append(file) }
        }
        return found.sorted { $0.path < $1.path }
    }
}
