// swift-tools-version: 6.2
import PackageDescription

// Every target is a folder. Arrows run one way only: a target may depend on those listed above it, never on one below.

/// Language settings shared by every target.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

/// Release executables carry no dynamic library: they start in a millisecond and run inside any mount namespace.
let staticExecutable: [LinkerSetting] = [
    .unsafeFlags(["-static-executable"], .when(configuration: .release))
]

/// A module of the hypervisor, in `Hypervisor/NAME`.
func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, path: "Hypervisor/\(name)", swiftSettings: strict)
}

/// An executable, in `Tools/NAME`.
func tool(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies, path: "Tools/\(name)", swiftSettings: strict,
        linkerSettings: staticExecutable)
}

/// The tests of one module, in `Tests/NAMETests`.
func tests(
    _ name: String, _ dependencies: [Target.Dependency], exclude: [String] = [], resources: [Resource] = []
) -> Target {
    .testTarget(
        name: "\(name)Tests", dependencies: dependencies, path: "Tests/\(name)Tests", exclude: exclude,
        resources: resources, swiftSettings: strict)
}

let package = Package(
    name: "vitrine",
    products: [
        .library(name: "PageTables", targets: ["PageTables"]),
        .library(name: "GuestMemory", targets: ["GuestMemory"]),
        .library(name: "SecondStage", targets: ["SecondStage"]),
        .library(name: "Targets", targets: ["Targets"]),
        .library(name: "Inspection", targets: ["Inspection"]),
        .executable(name: "vitrine", targets: ["vitrine"]),
        .executable(name: "vitrine-vmm", targets: ["vitrine-vmm"]),
    ],
    targets: [
        // Ground: what the host offers, and the four kinds of address.
        .target(name: "CSystem", path: "Hypervisor/CSystem"),
        .systemLibrary(
            name: "CJansson", path: "Hypervisor/CJansson", pkgConfig: "jansson",
            providers: [.apt(["libjansson-dev"])]),
        // Static: libbpf.a wants libelf.a and libz.a.
        .systemLibrary(
            name: "CBPF", path: "Hypervisor/CBPF",
            providers: [.apt(["libbpf-dev", "libelf-dev", "zlib1g-dev"])]),
        module("SystemCalls", ["CSystem"]),
        module("Addresses"),
        module("Options"),
        module("GuestFolders", ["SystemCalls"]),
        module("JSON", ["CJansson"]),
        module("Layouts", ["Addresses"]),
        module("GuestMemory", ["Addresses", "SystemCalls"]),

        module("Cores", ["Addresses", "SystemCalls", "GuestMemory"]),

        // Engine: what page tables mean.
        module("PageTables", ["Addresses", "GuestMemory"]),

        // The second stage: from guest physical to host physical addresses, as computed and as the kernel has it.
        .plugin(name: "CompileBPF", capability: .buildTool(), path: "Hypervisor/CompileBPF"),
        .target(
            name: "SecondStage",
            dependencies: ["Addresses", "SystemCalls", "CSystem", "CBPF", "GuestMemory", "PageTables"],
            path: "Hypervisor/SecondStage", exclude: ["BPF"], swiftSettings: strict, plugins: ["CompileBPF"]),

        // The monitor's side: KVM, the machine, the outward protocol.
        module("KVM", ["Addresses", "SystemCalls", "CSystem", "GuestMemory"]),
        module("Machine", ["Addresses", "SystemCalls", "CSystem", "GuestMemory", "KVM", "Layouts", "PageTables"]),
        module(
            "Monitor",
            [
                "Addresses", "SystemCalls", "CSystem", "GuestMemory", "JSON", "KVM", "Layouts", "Machine", "Options",
                "GuestFolders", "GuestImages",
            ]),

        // The inspector's side: where tables are read from, and what is said of them.
        module(
            "Targets",
            [
                "Addresses", "SystemCalls", "CSystem", "GuestMemory", "GuestFolders", "JSON", "PageTables", "Cores",
                "SecondStage",
            ]),
        module(
            "Inspection",
            [
                "Addresses", "SystemCalls", "CSystem", "GuestMemory", "JSON", "Layouts", "Options", "PageTables",
                "SecondStage",
                "Targets",
            ]),

        // Guest images: compiled by a build plugin, found at run time by name.
        .plugin(name: "BuildGuestImages", capability: .buildTool(), path: "Images/BuildGuestImages"),
        .target(
            name: "GuestImages", dependencies: ["SystemCalls"], path: "Images/GuestImages", swiftSettings: strict,
            plugins: ["BuildGuestImages"]),

        // The part of the guest kernel that reads programs' files, compiled for the host to be tested there.
        .target(
            name: "Processes", dependencies: ["Layouts"], path: "GuestKernel/Processes",
            sources: ["ProgramError.swift", "ProgramImage.swift"], swiftSettings: strict),

        tool(
            "vitrine",
            [
                "Addresses", "SystemCalls", "CSystem", "GuestMemory", "JSON", "KVM", "Layouts", "PageTables", "Targets",
                "SecondStage", "Inspection", "Cores", "Monitor", "Options", "GuestFolders", "GuestImages",
            ]),
        tool(
            "vitrine-vmm", ["Addresses", "SystemCalls", "Machine", "Monitor", "Options", "GuestFolders", "GuestImages"]),

        tool(
            "vitrine-bench",
            ["Addresses", "SystemCalls", "GuestMemory", "JSON", "PageTables", "Targets", "GuestImages"]),

        tests("Addresses", ["Addresses"]),
        tests("SystemCalls", ["SystemCalls", "CSystem"]),
        tests("Options", ["Options"]),
        tests("GuestFolders", ["SystemCalls", "GuestFolders"]),
        tests("JSON", ["JSON"]),
        tests("Layouts", ["Addresses", "Layouts"]),
        tests("Processes", ["Processes"]),
        tests("GuestMemory", ["Addresses", "SystemCalls", "GuestMemory"]),
        tests("Cores", ["Addresses", "SystemCalls", "GuestMemory", "PageTables", "Cores"]),
        tests("PageTables", ["Addresses", "GuestMemory", "PageTables"]),
        tests("SecondStage", ["Addresses", "SystemCalls", "GuestMemory", "PageTables", "SecondStage"]),
        tests("KVM", ["Addresses", "SystemCalls", "CSystem", "GuestMemory", "KVM", "PageTables"]),
        tests(
            "Machine",
            ["Addresses", "SystemCalls", "CSystem", "GuestMemory", "KVM", "Layouts", "Machine", "GuestImages"]),
        tests(
            "Monitor",
            [
                "Addresses", "SystemCalls", "CSystem", "GuestMemory", "GuestFolders", "JSON", "KVM", "Machine",
                "Options",
                "Targets", "Monitor",
            ]),
        tests(
            "Targets", ["Addresses", "SystemCalls", "GuestMemory", "GuestFolders", "JSON", "PageTables", "Targets"]),
        tests("Inspection", ["Addresses", "JSON", "GuestMemory", "Layouts", "PageTables", "Targets", "Inspection"]),
        tests(
            "Oracle",
            [
                "Addresses", "GuestMemory", "JSON", "PageTables", "Cores", "Targets", "Layouts", "Inspection",
                "GuestImages",
            ]),
        tests(
            "EndToEnd",
            [
                "Addresses", "SystemCalls", "CSystem", "GuestMemory", "JSON", "KVM", "Layouts", "PageTables", "Targets",
                "Inspection", "GuestImages",
            ],
            exclude: ["Fixtures"]),
    ]
)
