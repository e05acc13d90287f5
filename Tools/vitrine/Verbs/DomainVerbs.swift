// The verbs that make a guest a domain of libvirt's (docs/libvirt.md).

import Glibc
import GuestImages
import Monitor
import Options
import SystemCalls

/// The verbs about libvirt's domains, in the order of the help.
enum DomainVerbs {
    static let all: [Verb] = [domainXML, define, undefine]

    private static let emulator = OptionDescription(
        "emulator", "FILE", "the emulator's path, vitrine-qemu beside this program if not given")
    private static let connect = OptionDescription(
        "connect", "URI", "which libvirt: qemu:///system (virsh's own choice if not given)")

    /// The options of run that a domain can have.
    private static let guestOptions = RunOptions.descriptions.filter {
        !["detach", "wait-ready", "ready-fd", "gdb", "core-on-panic", "restore", "paused"].contains($0.name)
    }

    static let domainXML = Verb(
        name: "domain-xml", summary: "print the libvirt domain for a guest", usage: "[options of run]",
        details: """
            The same options as those of run describe the guest; the domain runs it by vitrine-qemu, which libvirt takes for
            a QEMU. The kernel is the layout's own, found beside the emulator, unless --kernel names another. The console
            is a pseudo-terminal (virsh console). Files must be readable for libvirt's user.
            """,
        options: [emulator] + guestOptions,
        examples: [
            ("vitrine domain-xml --name web --memory 256M --cpus 2", "prints the XML of a domain"),
            ("vitrine domain-xml --name web > web.xml; virsh define web.xml", "the same as vitrine define --name web"),
        ]
    ) { arguments, output in
        try output.write(try xml(&arguments))
        return .success
    }

    static let define = Verb(
        name: "define", summary: "make a guest a libvirt domain", usage: "[--connect URI] [options of run]",
        details: """
            Hands the XML of domain-xml to virsh. A domain of that name is changed if vitrine define made it. virsh start,
            console, shutdown and destroy then work as for any domain; vitrine undefine NAME takes it away.
            """,
        options: [connect, emulator] + guestOptions,
        examples: [
            ("vitrine define --connect qemu:///system --name web --cpus 2", "then: virsh start web; virsh console web")
        ]
    ) { arguments, _ in
        let file = try FileDescriptor.sealedFile(named: "domain", Array(try xml(&arguments).utf8))
        return try virsh(arguments, ["define", "/proc/self/fd/\(file.rawValue)"], keeping: file)
    }

    static let undefine = Verb(
        name: "undefine", summary: "take a libvirt domain away", usage: "NAME [--connect URI]",
        details: "A domain that runs goes on running; it is gone once it has ended.", options: [connect],
        examples: [("vitrine undefine web", "libvirt knows web no more")]
    ) { arguments, _ in
        let name = try arguments.operand("NAME")
        try arguments.end()
        guard !name.hasPrefix("-") else { throw UsageError("'\(name)' is no domain's name") }
        let none = try FileDescriptor(open: "/dev/null", O_RDONLY)
        return try virsh(arguments, ["undefine", name], keeping: none)
    }

    private static func xml(_ arguments: inout Arguments) throws -> String {
        let path: String
        if let given = arguments.value("emulator") {
            path = given
        } else if let folder = GuestImages.executableFolder() {
            path = folder + "/vitrine-qemu"
        } else {
            throw CommandError(.unable, "where this program is cannot be found out (/proc); give --emulator FILE")
        }
        return try DomainXML(&arguments, emulator: path).text
    }

    /// Runs virsh, which says itself what it did or what is wrong.
    private static func virsh(
        _ arguments: Arguments, _ words: [String], keeping file: borrowing FileDescriptor
    ) throws -> ExitStatus {
        let search = getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin:/bin"
        let paths = search.split(separator: ":").map { String($0) + "/virsh" }
        guard let path = paths.first(where: { access($0, X_OK) == 0 }) else {
            throw CommandError(
                .unable,
                "virsh is not in PATH: install libvirt-clients and libvirt-daemon-system; vitrine domain-xml needs neither"
            )
        }
        let uri = arguments.value("connect").map { ["--connect", $0] } ?? []
        let child = try ChildProcess(
            path: path, arguments: ["virsh", "--quiet"] + uri + words, keeping: file, sharesOutput: true)
        let end = try child.wait()
        guard end.status == 0 else {
            throw CommandError(
                .unable, "virsh \(words[0]) failed; what it says is above (virsh uri tells which libvirt)")
        }
        return .success
    }
}
