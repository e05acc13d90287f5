// Manual pages, made of the tables that also make help and parsing.

import Monitor
import Options

/// The pages of section 1, one for each program.
enum ManualPage {
    /// The programs that have a page.
    static let names = ["vitrine", "vitrine-vmm", "vitrine-qemu", "vitrine-libvirt"]

    /// The page of a program, or nil if it has none.
    static func named(_ name: String) -> String? {
        switch name {
        case "vitrine": return vitrine()
        case "vitrine-vmm": return monitor()
        case "vitrine-qemu": return emulator()
        case "vitrine-libvirt": return helper()
        default: return nil
        }
    }

    private static func vitrine() -> String {
        var page = Mdoc("vitrine", "KVM hypervisor with glass walls")
        page.lines([".Nm", ".Ar verb", ".Op Ar arguments", ".Nm", ".Fl \\-help", ".Nm", ".Fl \\-version"])
        page.section("DESCRIPTION")
        page.paragraphs(CommandLineInterface.introduction)
        page.lines([".Pp"])
        page.paragraphs(CommandLineInterface.conventions)
        page.section("VERBS")
        for verb in allVerbs where !verb.isHidden { page.add(verb) }
        page.section("ENVIRONMENT")
        page.list([
            (
                ".Ev XDG_RUNTIME_DIR",
                "Guests live in its folder vitrine; else in /run/user/UID/vitrine or /tmp/vitrine-UID."
            ),
            (".Ev VITRINE_IMAGES", "A folder with guest images, the first to be looked into."),
            (".Ev NO_COLOR", "If set, there are no colours."),
        ])
        page.section("FILES")
        page.list([(".Pa PREFIX/share/vitrine", "Guest images, for programs in PREFIX/bin.")])
        page.addExitStatus()
        page.section("EXAMPLES")
        page.literal(CommandLineInterface.examples)
        page.seeAlso(["gdb 1", "virsh 1", "vitrine-libvirt 1", "vitrine-qemu 1", "vitrine-vmm 1"])
        return page.text
    }

    private static func monitor() -> String {
        var page = Mdoc("vitrine-vmm", "process of a Vitrine guest")
        page.lines([".Nm", ".Op Ar options"])
        page.section("DESCRIPTION")
        page.paragraphs(
            """
            One process, one guest: the machine and its monitor. vitrine run starts it, in its own place or, with --detach, on
            its own; nobody else has to. Its options are those of vitrine run.
            """)
        page.section("OPTIONS")
        page.add(RunOptions.descriptions)
        page.addExitStatus()
        page.seeAlso(["vitrine 1"])
        return page.text
    }

    private static func emulator() -> String {
        var page = Mdoc("vitrine-qemu", "emulator that libvirt manages as a QEMU")
        page.lines([".Nm", ".Op Ar options"])
        page.section("DESCRIPTION")
        page.paragraphs(QEMUProcess.help)
        page.section("OPTIONS")
        let names = QEMUProcess.optionNames
        for (introduction, list) in [
            ("These options of QEMU are read, so far as this machine has what their values name:", names.read),
            ("These are accepted and change nothing:", names.ignored),
        ] {
            page.paragraphs(introduction)
            page.lines([".Bd -filled -offset indent"])
            page.paragraphs(list.map { "-" + $0 }.joined(separator: " "))
            page.lines([".Ed", ".Pp"])
        }
        page.paragraphs("Every other one is refused, with what is missing.")
        page.section("EXIT STATUS")
        page.list([
            ("0", "The guest powered off, or was ended from outside."), ("1", "It could not be started."),
            ("5", "The guest crashed."),
        ])
        page.seeAlso(["virsh 1", "vitrine 1", "libvirtd 8"])
        return page.text
    }

    private static func helper() -> String {
        var page = Mdoc("vitrine-libvirt", "speaks with libvirt for vitrine")
        page.lines([".Nm", ".Fl \\-fd Ar number", ".Ar uri", ".Op Ar domain"])
        page.section("DESCRIPTION")
        page.paragraphs(
            """
            vitrine starts this program for targets libvirt:DOMAIN and for vitrine list --libvirt, and talks to it over a
            socket; nobody else has a use for it. It is the only one that needs libvirt's library (Debian: libvirt0). What
            it knows of a domain it has from libvirt.
            """)
        page.section("EXIT STATUS")
        page.list([
            ("0", "The other end has closed."), ("2", "Wrong usage."),
            ("3", "There is no such domain, or it does not run."),
            ("4", "libvirt does not answer."),
        ])
        page.seeAlso(["vitrine 1", "libvirtd 8"])
        return page.text
    }
}

extension Mdoc {
    /// A verb as a subsection: its usage, and what its help says.
    fileprivate mutating func add(_ verb: Verb) {
        lines([".Ss " + verb.name])
        literal(["vitrine " + verb.name + (verb.usage.isEmpty ? "" : " " + verb.usage)])
        let first = verb.summary.prefix(1).uppercased() + verb.summary.dropFirst()
        paragraphs(first + ".")
        if !verb.details.isEmpty {
            lines([".Pp"])
            paragraphs(verb.details)
        }
        add(verb.allOptions)
        lines([".Pp"])
        paragraphs("Examples:")
        literal(verb.examples.flatMap { [$0.command, "    " + $0.effect] })
    }

    /// Options with what they do.
    fileprivate mutating func add(_ options: [OptionDescription]) {
        list(
            options.filter { !$0.isHidden }.map { option in
                (
                    ".Fl \\-" + Mdoc.escaped(option.name) + (option.value.map { " Ar " + Mdoc.escaped($0) } ?? ""),
                    option.summary
                )
            })
    }

    fileprivate mutating func addExitStatus() {
        section("EXIT STATUS")
        literal(ExitStatus.help.split(separator: "\n").dropFirst().map { String($0.dropFirst(2)) })
    }
}
