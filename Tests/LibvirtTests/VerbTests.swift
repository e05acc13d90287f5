import Foundation
import TestSupport
import Testing

/// Every verb of virsh that drives or looks at a domain, through one libvirtd.
extension LibvirtTests {
    @Suite struct VerbTests {
        let libvirt: PrivateLibvirt

        init() throws { libvirt = try PrivateLibvirt.shared.get() }

        @Test func whatTheProbeAnnounces() throws {
            let result = try libvirt.virsh(
                "domcapabilities", "--emulatorbin", PrivateLibvirt.emulator, "--machine", "vitrine-osv", "--virttype",
                "kvm"
            )
            #expect(result.status == 0, "\(result.errors)")
            #expect(result.output.contains("<machine>vitrine-osv</machine>"))
            #expect(result.output.contains("<mode name='host-passthrough' supported='yes'>"))
            #expect(result.output.contains("<mode name='custom' supported='no'"))
            // Nothing that is not there.
            for device in ["spice", "vnc", "tpm-crb", "qxl", "virtio-transitional"] {
                #expect(!result.output.contains("<value>\(device)</value>"), "\(device)")
            }
            // What is announced by name is there: asked for without arguments, each command answers something else than that.
            let domain = try TestDomain(libvirt, "probe")
            try #require(try domain.start())
            let commands = try #require(try domain.qmp("query-commands") as? [[String: Any]])
            #expect(commands.count > 20)
            for name in commands.compactMap({ $0["name"] as? String })
            where !["quit", "system_reset", "system_powerdown", "stop", "qmp_capabilities"].contains(name) {
                let reply = try domain.virsh("qemu-monitor-command", "{\"execute\":\"\(name)\"}").output
                #expect(reply.contains("\"return\"") || reply.contains("\"GenericError\""), "\(name): \(reply)")
            }
        }

        @Test func aWholeLife() throws {
            let domain = try TestDomain(libvirt, "life")
            #expect(try domain.state == "shut off (unknown)")
            #expect(try domain.virsh("domxml-to-native", "qemu-argv").status != 0)
            let native = try libvirt.virsh("domxml-to-native", "qemu-argv", "--domain", domain.name)
            #expect(native.output.contains("\(PrivateLibvirt.emulator) -name guest=\(domain.name)"), "\(native)")
            #expect(try domain.virsh("autostart").status == 0)
            #expect(try domain.virsh("autostart", "--disable").status == 0)

            #expect(try domain.virsh("start", "--paused").status == 0)
            #expect(try domain.state == "paused (user)")
            #expect(try domain.hmp("info status") == "VM status: paused (prelaunch)\n\n")
            #expect(try domain.virsh("resume").status == 0)
            #expect(try domain.isReady())
            #expect(try domain.state == "running (unpaused)")
            #expect(try libvirt.virsh("list").output.contains(domain.name))
            #expect(try domain.virsh("dominfo").output.contains("CPU(s):         2"))
            let statistics = try domain.virsh("domstats").output
            for line in ["state.state=1", "vcpu.current=2", "balloon.maximum=65536", "block.count=0"] {
                #expect(statistics.contains(line), "\(statistics)")
            }
            let vcpus = try domain.virsh("vcpuinfo").output
            #expect(vcpus.contains("VCPU:           1") && vcpus.contains("State:          running"), "\(vcpus)")

            let terminal = try domain.virsh("ttyconsole").output.trimmingCharacters(in: .whitespacesAndNewlines)
            #expect(terminal.hasPrefix("/dev/pts/"))
            // The console by virsh wants a terminal of its own; script(1) has one.
            let console = try libvirt.inside(
                [
                    "script", "-qec", "timeout --foreground -k 1 3 virsh -c qemu:///system console \(domain.name)",
                    "/dev/null",
                ], timeout: 20
            )
            #expect(console.output.contains("vitrine: osv layout, 64 MiB, 2 cpus"), "\(console)")

            #expect(try domain.virsh("suspend").status == 0)
            #expect(try domain.state == "paused (user)")
            #expect(try domain.hmp("info status") == "VM status: paused\n\n")
            #expect(try domain.virsh("resume").status == 0)
            #expect(try domain.state == "running (unpaused)")

            #expect(try domain.virsh("reset").status == 0)
            #expect(try domain.isReady())
            #expect(try domain.virsh("reboot").status == 0)
            // The guest powers off, libvirt resets it and lets it go on.
            #expect(
                try libvirt.wait {
                    let info = try domain.qmp("x-vitrine-info") as? [String: Any]
                    return info?["state"] as? String == "running" && info?["stage"] as? String == "ready"
                })
            #expect(try domain.virsh("shutdown").status == 0)
            #expect(try domain.reaches("shut off (shutdown)"))
            #expect(try domain.virsh("undefine").status == 0)
            #expect(try !libvirt.virsh("list", "--all").output.contains(domain.name))
        }

        /// A kernel that does not listen yet hears of the button when it does.
        @Test func shutdownBeforeTheKernelIsReady() throws {
            let domain = try TestDomain(libvirt, "early")
            // Before its first instruction; virsh itself refuses to ask a domain that is paused.
            #expect(try domain.virsh("start", "--paused").status == 0)
            #expect(try domain.qmp("system_powerdown") != nil)
            #expect(try domain.virsh("resume").status == 0)
            #expect(try domain.reaches("shut off (shutdown)"))
            // At some moment of its boot.
            let both = try libvirt.virsh("start \(domain.name); shutdown \(domain.name)")
            #expect(both.status == 0, "\(both.errors)")
            #expect(try domain.reaches("shut off (shutdown)"))
        }

        @Test func withoutADefinition() throws {
            let domain = try TestDomain(libvirt, "transient", define: false)
            let path = try libvirt.write("transient.xml", TestDomain.xml(domain.name))
            #expect(try libvirt.virsh("create", path).status == 0)
            #expect(try domain.state == "running (booted)")
            #expect(try domain.virsh("destroy").status == 0)
            #expect(try libvirt.virsh("domstate", domain.name).status != 0)
        }

        @Test func ends() throws {
            let domain = try TestDomain(libvirt, "ends")
            // The process is killed.
            try #require(try domain.start())
            #expect(try libvirt.shell("kill -9 $(cat /run/libvirt/qemu/\(domain.name).pid)").status == 0)
            #expect(try domain.reaches("shut off (crashed)"))
            // The guest powers itself off.
            try #require(try domain.start())
            _ = try domain.virsh(
                "qemu-monitor-command", "{\"execute\":\"x-vitrine-exec\",\"arguments\":{\"command-line\":\"poweroff\"}}"
            )
            #expect(try domain.reaches("shut off (shutdown)"))
            // The guest's kernel panics; the log says what happened.
            try #require(try domain.start())
            _ = try domain.virsh(
                "qemu-monitor-command", "{\"execute\":\"x-vitrine-exec\",\"arguments\":{\"command-line\":\"panic\"}}")
            #expect(try domain.reaches("shut off (crashed)"))
            let log = try libvirt.inside(["cat", "/var/log/libvirt/qemu/\(domain.name).log"]).output
            #expect(log.contains("vitrine-qemu: the guest kernel panicked"), "\(log)")
        }

        @Test func aPanicThatIsKept() throws {
            let domain = try TestDomain(libvirt, "panic", onCrash: "preserve")
            try #require(try domain.start())
            let events = try Events(libvirt, domain.name)
            _ = try domain.virsh(
                "qemu-monitor-command", "{\"execute\":\"x-vitrine-exec\",\"arguments\":{\"command-line\":\"panic\"}}")
            #expect(try domain.reaches("crashed (panicked)"))
            #expect(try domain.hmp("info status") == "VM status: paused (guest-panicked)\n\n")
            #expect(try domain.virsh("destroy").status == 0)
            let text = try events.text { $0.contains("Stopped") }
            #expect(text.contains("Crashed Panicked"), "\(text)")
        }

        @Test func events() throws {
            let domain = try TestDomain(libvirt, "events")
            let events = try Events(libvirt, domain.name)
            let own = try Events(libvirt, domain.name, verb: ["qemu-monitor-event", "--loop", "--timeout", "60"])
            try #require(try domain.start())
            _ = try domain.virsh("suspend")
            _ = try domain.virsh("resume")
            _ = try domain.virsh("reset")
            _ = try domain.isReady()
            _ = try domain.virsh("destroy")
            let text = try events.text { $0.contains("Stopped") }
            for part in ["Started Booted", "Suspended Paused", "Resumed Unpaused", "'reboot'", "Stopped Destroyed"] {
                #expect(text.contains(part), "\(part): \(text)")
            }
            let monitor = try own.text { $0.contains("SHUTDOWN") }
            for part in ["X_VITRINE_STAGE", "STOP", "RESUME", "RESET", "SHUTDOWN"] {
                #expect(monitor.contains("event \(part) at"), "\(part): \(monitor)")
            }
        }

        @Test func refusalsReachTheUser() throws {
            func start(_ name: String, _ xml: String) throws -> String {
                let path = try libvirt.write(name + ".xml", xml)
                let result = try libvirt.virsh("create", path)
                if result.status == 0 { _ = try libvirt.virsh("destroy", name) }
                #expect(result.status != 0, "\(name) was started")
                return result.errors
            }
            func with(_ words: [String]) -> String {
                let list = words.map { "<qemu:arg value='\($0)'/>" }.joined()
                return TestDomain.xml("t-refused", more: "<qemu:commandline>\(list)</qemu:commandline>")
            }
            for (words, message) in [
                (["-drive", "file=/x"], "-drive file=/x: this machine has no disks"),
                (["-device", "virtio-net-device"], "-device virtio-net-device: this machine has no network cards"),
                (["-netdev", "user,id=n"], "this machine has no network"),
                (["-bios", "/x"], "this machine has no firmware"),
                (["-cpu", "qemu64"], "-cpu qemu64: guests have the host"),
                (["-x-vitrine-program", "/no/such/program"], "/no/such/program: No such file"),
                (["-no-such-option"], "-no-such-option: there is no such option"),
            ] {
                let errors = try start("t-refused", with(words))
                #expect(errors.contains(message), "\(words): \(errors)")
            }
            let errors = try start("t-refused", TestDomain.xml("t-refused", os: "<kernel>/no/such/kernel</kernel>"))
            #expect(errors.contains("/no/such/kernel"), "\(errors)")
            let other = try start("t-refused", TestDomain.xml("t-refused", os: "<cmdline>layout=linux</cmdline>"))
            #expect(other.contains("has the layout osv, -append asks for layout=linux"), "\(other)")
        }
    }
}

/// What `virsh event` prints, meanwhile.
final class Events {
    private let process = Process()
    private let folder: TemporaryFolder
    private let file: URL

    init(
        _ libvirt: PrivateLibvirt, _ domain: String, verb: [String] = ["event", "--all", "--loop", "--timeout", "60"]
    ) throws {
        folder = try TemporaryFolder()
        file = try folder.file("events")
        process.executableURL = URL(fileURLWithPath: "/usr/bin/nsenter")
        process.arguments =
            libvirt.entering + ["stdbuf", "-oL", "virsh", "-c", "qemu:///system"] + verb + ["--domain", domain]
        process.standardOutput = try FileHandle(forWritingTo: file)
        process.standardInput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        // It registers within a moment; there is no word of it.
        usleep(700_000)
    }

    /// What it has printed, once that is as expected, or after half a minute.
    func text(_ isEnough: (String) -> Bool) throws -> String {
        for _ in 0..<300 {
            if isEnough(try String(contentsOf: file, encoding: .utf8)) { break }
            usleep(100_000)
        }
        return try String(contentsOf: file, encoding: .utf8)
    }

    // virsh, which nsenter has started, ends by its own time; waiting for it here would take as long.
    deinit { process.terminate() }
}
