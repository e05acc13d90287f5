// Runs MakeFilters: the filters of system calls become a Swift file of the module Sandbox.

import Foundation
import PackagePlugin

@main struct CompileFilters: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let tool = try context.tool(named: "MakeFilters")
        let output = context.pluginWorkDirectoryURL.appending(path: "MadeFilters.swift")
        return [
            .buildCommand(
                displayName: "Making the filters of system calls", executable: tool.url, arguments: [output.path],
                outputFiles: [output])
        ]
    }
}
