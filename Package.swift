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

/// For executables of the build with sanitizers (Tools/fuzz): gold does not get along with its debugging information.
let sanitized: [LinkerSetting] =
    Context.environment["VITRINE_FUZZ"] == nil ? [] : [.unsafeFlags(["-use-ld=lld"])]

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
        name: "\(name)Tests", dependencies: dependencies + ["TestSupport"], path: "Tests/\(name)Tests",
        exclude: exclude,
        resources: resources, swiftSettings: strict)
}

let package = Package(
    name: "vitrine",
    products: [
        // Everything that looks at machines, in one piece; docs/library.md.
        .library(
            name: "Vitrine",
            targets: [
                "Addresses", "GuestMemory", "PageTables", "Cores", "SecondStage", "Targets", "Layouts", "Inspection",
            ]),
        .library(name: "PageTables", targets: ["PageTables"]),
        .library(name: "GuestMemory", targets: ["GuestMemory"]),
        .library(name: "SecondStage", targets: ["SecondStage"]),
        .library(name: "Targets", targets: ["Targets"]),
        .library(name: "Inspection", targets: ["Inspection"]),
        .executable(name: "vitrine", targets: ["vitrine"]),
        .executable(name: "vitrine-vmm", targets: ["vitrine-vmm"]),
        .executable(name: "vitrine-libvirt", targets: ["vitrine-libvirt"]),
        .executable(name: "vitrine-qemu", targets: ["vitrine-qemu"]),
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
        // Used while the project is built only, by MakeFilters.
        .systemLibrary(
            name: "CSeccomp", path: "Hypervisor/CSeccomp", providers: [.apt(["libseccomp-dev"])]),
        // libvirt's C API; vitrine-libvirt alone links it.
        .systemLibrary(
            name: "CLibvirt", path: "Hypervisor/CLibvirt", pkgConfig: "libvirt",
            providers: [.apt(["libvirt-dev"])]),
        module("SystemCalls", ["CSystem"]),
        // What a monitor gives up before its guest runs: which system calls each of its threads may make, as lists with a reason for each;
        // the filters that a build makes of them; and all else.
        module("CallLists", ["SystemCalls", "CSystem"]),
        .executableTarget(
            name: "MakeFilters", dependencies: ["CallLists", "SystemCalls", "CSeccomp"],
            path: "Hypervisor/MakeFilters", swiftSettings: strict, linkerSettings: sanitized),
        .plugin(
            name: "CompileFilters", capability: .buildTool(), dependencies: ["MakeFilters"],
            path: "Hypervisor/CompileFilters"),
        .target(
            name: "Sandbox", dependencies: ["SystemCalls", "CSystem", "CallLists"], path: "Hypervisor/Sandbox",
            swiftSettings: strict, plugins: ["CompileFilters"]),
        module("Addresses"),
        module("Options"),
        module("GuestFolders", ["SystemCalls"]),
        module("JSON", ["CJansson"]),
        module("Layouts", ["Addresses"]),
        module("GuestMemory", ["Addresses", "SystemCalls"]),

        module("Cores", ["Addresses", "SystemCalls", "GuestMemory"]),
        // The format of a guest in a file.
        module("SavedGuests", ["SystemCalls", "CSystem"]),

        // Engine: what page tables mean.
        module("PageTables", ["Addresses", "GuestMemory"]),

        // The second stage: from guest physical to host physical addresses, as computed and as the kernel has it.
        .plugin(name: "CompileBPF", capability: .buildTool(), path: "Hypervisor/CompileBPF"),
        .target(
            name: "SecondStage",
            dependencies: ["Addresses", "SystemCalls", "CSystem", "CBPF", "GuestMemory", "PageTables"],
            path: "Hypervisor/SecondStage", exclude: ["BPF"], swiftSettings: strict, plugins: ["CompileBPF"]),

        // The monitor's side: KVM, the machine, the outward protocol.
        module("KVM", ["Addresses", "SystemCalls", "CSystem", "GuestMemory", "SavedGuests"]),
        module(
            "Machine",
            [
                "Addresses", "SystemCalls", "CSystem", "GuestMemory", "SavedGuests", "KVM", "Layouts", "PageTables",
            ]),
        module(
            "Monitor",
            [
                "Addresses", "SystemCalls", "CSystem", "GuestMemory", "Cores", "SavedGuests", "JSON", "KVM", "Layouts",
                "Machine", "Options", "PageTables", "GuestFolders", "GuestImages", "Sandbox",
            ]),

        // The inspector's side: where tables are read from, and what is said of them.
        module(
            "Targets",
            [
                "Addresses", "SystemCalls", "CSystem", "GuestMemory", "GuestFolders", "JSON", "PageTables", "Cores",
                "SecondStage",
            ]),
        .target(
            name: "Inspection",
            dependencies: [
                "Addresses", "SystemCalls", "CSystem", "GuestMemory", "JSON", "Layouts", "Options", "PageTables",
                "SecondStage", "Targets",
            ],
            path: "Hypervisor/Inspection",
            // The page of --format html: in the executable, which needs no file beside it.
            resources: [
                "page.html", "page.css", "data.js", "axis.js", "view.js", "panels.js", "controls.js", "selftest.js",
            ].map { .embedInCode("Page/\($0)") },
            swiftSettings: strict),

        // Guest images: compiled by a build plugin, found at run time by name.
        .plugin(name: "BuildGuestImages", capability: .buildTool(), path: "Images/BuildGuestImages"),
        .target(
            name: "GuestImages", dependencies: ["SystemCalls"], path: "Images/GuestImages", swiftSettings: strict,
            plugins: ["BuildGuestImages"]),

        // The part of the guest kernel that reads programs' files, compiled for the host to be tested there.
        .target(
            name: "Processes", dependencies: ["Layouts"], path: "GuestKernel/Processes",
            sources: ["ProgramError.swift", "ProgramImage.swift"],
            // It is there for tests alone, which also the release build has (make fuzz).
            swiftSettings: strict + [.unsafeFlags(["-enable-testing"])]),

        module("GDBStub", ["Addresses", "SystemCalls", "GuestMemory", "JSON", "PageTables", "Targets"]),

        tool(
            "vitrine",
            [
                "Addresses", "GDBStub", "SystemCalls", "CSystem", "GuestMemory", "JSON", "KVM", "Layouts", "PageTables",
                "Targets",
                "SecondStage", "Inspection", "Cores", "Monitor", "Options", "GuestFolders", "GuestImages", "CallLists",
                "Sandbox",
            ]),
        tool(
            "vitrine-vmm", ["Addresses", "SystemCalls", "Machine", "Monitor", "Options", "GuestFolders", "GuestImages"]),
        tool("vitrine-qemu", ["Monitor", "SystemCalls"]),

        // Not static: libvirt is a dynamic library, which need not be there for anything else to work.
        .executableTarget(
            name: "vitrine-libvirt", dependencies: ["CLibvirt", "JSON", "SystemCalls"], path: "Tools/vitrine-libvirt",
            swiftSettings: strict, linkerSettings: [.unsafeFlags(["-static-stdlib"], .when(configuration: .release))]),

        tool(
            "vitrine-bench",
            [
                "Addresses", "SystemCalls", "GuestFolders", "GuestMemory", "JSON", "PageTables", "Targets",
                "Inspection",
                "GuestImages", "CallLists",
            ]),
        // What the tests and the hardware bench ask the kernel itself.
        tool(
            "vitrine-witness",
            [
                "Addresses", "CBPF", "CSystem", "CallLists", "GuestMemory", "JSON", "KVM", "PageTables", "Sandbox",
                "SecondStage",
                "SystemCalls", "Targets",
            ]),

        // What `make fuzz` runs under libFuzzer, and the tests on the inputs that are kept.
        .target(
            name: "FuzzTargets",
            dependencies: [
                "Addresses", "SystemCalls", "GuestMemory", "JSON", "PageTables", "Cores", "Targets", "Inspection",
                "Monitor",
                "SavedGuests", "Machine", "GDBStub", "SecondStage", "Processes",
            ], path: "Tests/Fuzz/FuzzTargets", swiftSettings: strict),
        tests("Fuzz", ["FuzzTargets"]),

        // The example of docs/library.md.
        .executableTarget(
            name: "library-example", dependencies: ["Addresses", "PageTables", "Targets"],
            path: "Tests/LibraryExample", swiftSettings: strict),

        // What tests of several modules need: random numbers that can be had again, folders, commands.
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: strict),
        tests("Addresses", ["Addresses"]),
        tests("SystemCalls", ["SystemCalls", "CSystem"]),
        tests("Sandbox", ["CallLists", "Sandbox", "SystemCalls"]),
        tests("Options", ["Options"]),
        tests("GuestFolders", ["SystemCalls", "GuestFolders"]),
        tests("JSON", ["JSON"]),
        tests("Layouts", ["Addresses", "Layouts"]),
        tests("Processes", ["Processes"]),
        tests("GuestMemory", ["Addresses", "SystemCalls", "GuestMemory"]),
        tests("Cores", ["Addresses", "SystemCalls", "GuestMemory", "PageTables", "Cores"]),
        tests("SavedGuests", ["SavedGuests"]),
        tests("PageTables", ["Addresses", "GuestMemory", "PageTables"]),
        tests("SecondStage", ["Addresses", "SystemCalls", "GuestMemory", "PageTables", "SecondStage"]),
        tests("GDBStub", ["GDBStub"]),
        tests("KVM", ["Addresses", "SystemCalls", "CSystem", "GuestMemory", "KVM", "PageTables"]),
        tests(
            "Machine",
            [
                "Addresses", "SystemCalls", "CSystem", "GuestMemory", "SavedGuests", "KVM", "Layouts", "Machine",
                "GuestImages",
            ]),
        tests(
            "Monitor",
            [
                "Addresses", "SystemCalls", "CSystem", "GuestMemory", "GuestFolders", "JSON", "KVM", "Machine",
                "Options", "Sandbox",
                "Targets", "Monitor",
            ]),
        tests(
            "Targets", ["Addresses", "SystemCalls", "GuestMemory", "GuestFolders", "JSON", "PageTables", "Targets"]),
        tests(
            "Inspection",
            ["Addresses", "JSON", "GuestMemory", "Layouts", "PageTables", "SecondStage", "Targets", "Inspection"]),
        tests(
            "Oracle",
            [
                "Addresses", "GuestMemory", "JSON", "PageTables", "Cores", "Targets", "Layouts", "Inspection",
                "GuestImages",
            ], exclude: ["Fixtures"]),
        tests(
            "EndToEnd",
            [
                "Addresses", "SystemCalls", "CSystem", "GuestMemory", "JSON", "KVM", "Layouts", "PageTables", "Targets",
                "Inspection", "GuestImages",
            ],
            exclude: ["Fixtures"]),
        // A real libvirtd of their own; `Tests/LibvirtTests/PrivateLibvirt.swift`.
        tests("Libvirt", []),
    ]
)

// libFuzzer's own main function is of use in a build with the sanitizers alone (Tools/fuzz), so it is no part of others.
if Context.environment["VITRINE_FUZZ"] != nil {
    package.targets += [
        .systemLibrary(name: "CLibFuzzer", path: "Tests/Fuzz/CLibFuzzer"),
        .executableTarget(
            name: "vitrine-fuzz", dependencies: ["FuzzTargets", "CLibFuzzer"], path: "Tests/Fuzz/vitrine-fuzz",
            swiftSettings: strict,
            linkerSettings: sanitized),
    ]
}
