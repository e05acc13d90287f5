import Foundation
import TestSupport
import Testing

/// What libvirt's own life does to domains: a daemon that is started again, one that is killed, and the other two ways to have a
/// libvirt.
extension LibvirtTests {
    @Suite struct ConnectionTests {
        let libvirt: PrivateLibvirt

        init() throws { libvirt = try PrivateLibvirt.shared.get() }

        @Test(arguments: ["TERM", "KILL"]) func libvirtdComesBack(signal: String) throws {
            let domain = try TestDomain(libvirt, "restart")
            try #require(try domain.start())
            let before = try libvirt.inside(["cat", "/run/libvirt/qemu/\(domain.name).pid"]).output
            let daemon = try libvirt.inside(["cat", "/run/libvirtd.pid"]).output
            // It is started again by itself.
            #expect(try libvirt.shell("kill -\(signal) \(daemon)").status == 0)
            #expect(
                try libvirt.wait {
                    try libvirt.inside(["cat", "/run/libvirtd.pid"]).output != daemon
                        && libvirt.virsh("domstate", domain.name).output.hasPrefix("running")
                })
            #expect(try libvirt.inside(["cat", "/run/libvirt/qemu/\(domain.name).pid"]).output == before)
            // It is managed as before.
            #expect(try domain.virsh("suspend").status == 0)
            #expect(try domain.virsh("resume").status == 0)
            #expect(try domain.hmp("info status") == "VM status: running\n\n")
            #expect(try domain.virsh("shutdown").status == 0)
            #expect(try domain.reaches("shut off (shutdown)"))
        }

        /// An unprivileged user's own libvirt, which starts its daemon by itself.
        @Test func session() throws {
            let group = try libvirt.shell("stat -c %g /dev/kvm").output.trimmingCharacters(in: .whitespacesAndNewlines)
            // nobody: libvirt looks its user up by the number.
            let user = "65534"
            let home = PrivateLibvirt.scratch + "/home"
            #expect(try libvirt.shell("mkdir -p -m 700 \(home)/run && chown -R \(user) \(home)").status == 0)
            let xml = try libvirt.write("session.xml", TestDomain.xml("t-session"))
            func virsh(_ words: String...) throws -> CommandResult {
                try libvirt.inside(
                    [
                        "setpriv", "--reuid", user, "--regid", group, "--clear-groups", "virsh", "-q", "-c",
                        "qemu:///session",
                    ]
                        + words,
                    environment: ["HOME": home, "XDG_RUNTIME_DIR": home + "/run"])
            }
            let files = home + "/files"
            #expect(try libvirt.shell("mkdir \(files) && chown \(user) \(files)").status == 0)
            let life = try virsh(Self.script("t-session", xml, files))
            check(life, "t-session")
            // It was undefined while it ended: its name is free once it has.
            #expect(try libvirt.wait { try virsh("define", xml).status == 0 })
            #expect(try virsh("start", "t-session").status == 0)
            #expect(
                try libvirt.shell("stat -c %u /proc/$(cat \(home)/run/libvirt/qemu/run/t-session.pid)").output == user
                    + "\n")
            #expect(
                try libvirt.wait {
                    try virsh("qemu-monitor-command", "t-session", "{\"execute\":\"x-vitrine-info\"}").output
                        .contains("\"stage\":\"ready\"")
                })
            #expect(try virsh("shutdown", "t-session").status == 0)
            #expect(
                try libvirt.wait {
                    try virsh("domstate", "t-session", "--reason").output.hasPrefix("shut off (shutdown)")
                })
            #expect(try virsh("undefine", "t-session").status == 0)
        }

        /// No daemon at all: the driver inside of virsh.
        @Test func embedded() throws {
            let root = PrivateLibvirt.scratch + "/embed"
            #expect(
                try libvirt.shell(
                    "mkdir -p \(root)/etc && cp /etc/libvirt/qemu.conf \(root)/etc/qemu.conf && chmod 755 \(root)"
                ).status == 0)
            let xml = try libvirt.write("embed.xml", TestDomain.xml("t-embed"))
            let result = try libvirt.inside(
                ["virsh", "-q", "-c", "qemu:///embed?root=\(root)", Self.script("t-embed", xml, root)], timeout: 120)
            check(result, "t-embed")
        }

        /// Every verb once, for one virsh: to the guest's own end by the power button.
        private static func script(_ name: String, _ xml: String, _ folder: String) -> String {
            [
                "define \(xml)", "dominfo \(name)",
                "domcapabilities --emulatorbin \(PrivateLibvirt.emulator) --machine vitrine-osv --virttype kvm",
                "domxml-to-native qemu-argv --domain \(name)", "start \(name) --paused", "domstate \(name) --reason",
                "resume \(name)", "list", "vcpuinfo \(name)", "domstats \(name)", "ttyconsole \(name)",
                "suspend \(name)", "qemu-monitor-command \(name) --hmp 'info status'", "resume \(name)",
                "dump \(name) \(folder)/core --memory-only", "save \(name) \(folder)/saved",
                "restore \(folder)/saved", "domstate \(name) --reason",
                "snapshot-create-as \(name) one --memspec file=\(folder)/memory,snapshot=external",
                "snapshot-list \(name)", "snapshot-revert \(name) one", "snapshot-delete \(name) one --metadata",
                "managedsave \(name)", "start \(name)", "reset \(name)", "shutdown \(name)",
                "event \(name) --event lifecycle --timeout 10", "domstate \(name) --reason", "undefine \(name)",
            ].joined(separator: "; ")
        }

        private func check(_ result: CommandResult, _ name: String) {
            #expect(result.status == 0, "\(result)")
            for part in [
                "CPU(s):         2", "<machine>vitrine-osv</machine>", "-name guest=\(name)", "paused (user)",
                "VCPU:           1", "state.state=1", "/dev/pts/", "VM status: paused", "running (restored)",
                "one ",
            ] { #expect(result.output.contains(part), "\(part): \(result)") }
            // virsh has begun to listen before the end, or the end was before that.
            #expect(
                ["Shutdown Finished after guest request", "shut off (shutdown)"].contains {
                    result.output.contains($0)
                },
                "\(result)")
            // What libvirt 9.0 cannot, of any emulator; and what it says now and then where virsh has the driver in itself.
            let failures = result.errors.split(separator: "\n").filter {
                $0.hasPrefix("error: ") && !$0.contains("references were leaked after disconnect")
            }
            #expect(
                failures.count == 2 && failures.last?.contains("revert to external snapshot") == true, "\(failures)")
        }

        /// From the options of run to a domain.
        @Test func vitrineDefine() throws {
            let own = "/run/vitrine/bin/vitrine"
            let words = ["define", "--connect", "qemu:///system", "--name", "t-own", "--memory", "64M", "--cpus", "2"]
            let options = ["--append", "args=there", "--program", "hello"]
            defer {
                _ = try? libvirt.virsh("destroy", "t-own")
                _ = try? libvirt.virsh("undefine", "t-own")
            }
            for _ in 0..<2 {
                // A second time changes it.
                let result = try libvirt.inside([own] + words + options)
                #expect(result.status == 0 && result.errors.isEmpty, "\(result)")
            }
            #expect(try libvirt.virsh("start", "t-own").status == 0)
            #expect(
                try libvirt.wait {
                    let info = try libvirt.virsh("qemu-monitor-command", "t-own", "{\"execute\":\"x-vitrine-info\"}")
                        .output
                    return info.contains("\"name\":\"hello.elf\",\"status\":0")
                        && info.contains("\"command-line\":\"args=there\"")
                })
            #expect(try libvirt.virsh("destroy", "t-own").status == 0)
            #expect(try libvirt.inside([own, "undefine", "t-own", "--connect", "qemu:///system"]).status == 0)
            let gone = try libvirt.inside([own, "undefine", "t-own", "--connect", "qemu:///system"])
            #expect(gone.status == 4 && gone.errors.contains("virsh undefine failed"), "\(gone)")
            let none = try libvirt.inside([own, "undefine", "t-own"], environment: ["PATH": "/nowhere"])
            #expect(none.status != 0)
        }

        /// The domains in Images/domains are what domain-xml prints, and libvirt takes them.
        @Test func domainsOfTheLayouts() throws {
            let folder = LibvirtHost.package.appending(path: "Images/domains")
            let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
            #expect(files.count == 7)
            for file in files {
                let text = try String(contentsOf: folder.appending(path: file), encoding: .utf8)
                let layout = file.dropLast(4)
                let made = try command(
                    LibvirtHost.binaries.appending(path: "vitrine").path,
                    ["domain-xml", "--layout", String(layout), "--emulator", "/usr/bin/vitrine-qemu"])
                #expect(
                    made.output == text,
                    "\(file): vitrine domain-xml --layout \(layout) --emulator /usr/bin/vitrine-qemu")
                let path = try libvirt.write(
                    file, text.replacing("/usr/bin/vitrine-qemu", with: PrivateLibvirt.emulator))
                let result = try libvirt.virsh("define", "--validate", path)
                #expect(result.status == 0, "\(file): \(result.errors)")
                #expect(try libvirt.virsh("undefine", "vitrine-\(layout)").status == 0)
            }
        }
    }
}
