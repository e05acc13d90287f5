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
            let defined = try virsh("define", xml)
            #expect(defined.status == 0, "\(defined.errors)")
            let started = try virsh("start", "t-session")
            #expect(started.status == 0, "\(started.errors)")
            #expect(try virsh("domstate", "t-session", "--reason").output.hasPrefix("running (booted)"))
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
            let script = [
                "define \(xml)", "start t-embed", "domstate t-embed --reason",
                "qemu-monitor-command t-embed --hmp 'info status'", "destroy t-embed", "domstate t-embed --reason",
                "undefine t-embed",
            ].joined(separator: "; ")
            let result = try libvirt.inside(["virsh", "-q", "-c", "qemu:///embed?root=\(root)", script])
            #expect(result.status == 0, "\(result)")
            #expect(result.output.contains("running (booted)"), "\(result)")
            #expect(result.output.contains("VM status: running"), "\(result)")
            #expect(result.output.contains("shut off (destroyed)"), "\(result)")
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
