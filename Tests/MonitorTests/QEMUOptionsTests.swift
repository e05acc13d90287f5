import Machine
import Monitor
import Sandbox
import TestSupport
import Testing

/// Command lines in QEMU's words.
@Suite struct QEMUOptionsTests {
    /// What libvirt 9.0 builds for the smallest domain.
    static let usual = [
        "-name", "guest=web,debug-threads=on", "-S", "-object",
        "secret,id=masterKey0,format=raw,file=/var/lib/libvirt/qemu/domain-1-web/master-key.aes", "-machine",
        "vitrine-linux,usb=off,dump-guest-core=off", "-accel", "kvm", "-m", "64", "-overcommit", "mem-lock=off", "-smp",
        "2,sockets=2,cores=1,threads=1", "-uuid", "535380fd-910e-4eb9-8bb2-24e955060eda", "-display", "none",
        "-no-user-config", "-nodefaults", "-chardev", "socket,id=charmonitor,fd=26,server=on,wait=off", "-mon",
        "chardev=charmonitor,id=monitor,mode=control", "-rtc", "base=utc", "-no-shutdown", "-no-acpi", "-boot",
        "strict=on", "-kernel", "/kernel", "-append", "ring=3 args=a,,b", "-chardev", "pty,id=charserial0", "-device",
        "isa-serial,chardev=charserial0,id=serial0,index=0", "-audiodev", "{\"id\":\"audio1\",\"driver\":\"none\"}",
        "-msg", "timestamp=on",
    ]

    private func error(_ words: [String]) -> String {
        do throws(MonitorError) {
            _ = try QEMUOptions(words: words)
            return "accepted"
        } catch {
            return "\(error)"
        }
    }

    @Test func theUsualLine() throws {
        let options = try QEMUOptions(words: Self.usual)
        #expect(options.guestName == "web")
        #expect(!options.isProbe && !options.isDaemon)
        #expect(options.hasTimestamp)
        #expect(options.monitors == [.descriptor(26)])
        #expect(options.run.machine.layout == "linux")
        #expect(options.run.machine.memory == 64 << 20)
        #expect(options.run.machine.vcpus == 2)
        #expect(options.run.machine.kernel == "/kernel")
        #expect(options.run.machine.commandLine == "ring=3 args=a,,b")
        #expect(options.run.machine.stopAt == .entry)
        #expect(options.run.console == .pty)
        #expect(options.run.staysAfterPowerOff && options.run.keepsCrashed)
        #expect(options.ignored.contains("-rtc base=utc"))
    }

    @Test func theProbe() throws {
        let options = try QEMUOptions(words: [
            "-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=kvm:tcg", "-qmp",
            "unix:/a,,b/qmp.monitor,server=on,wait=off", "-pidfile", "/a/qmp.pid", "-daemonize",
        ])
        #expect(options.isProbe && options.isDaemon)
        #expect(options.monitors == [.path("/a,b/qmp.monitor")])
        #expect(options.pidFile == "/a/qmp.pid")
    }

    @Test(arguments: [
        (["-chardev", "file,id=c,path=/x"], ConsoleChoice.file("/x")),
        (["-chardev", "file,id=c,path=/x,append=on"], .append("/x")),
        (["-add-fd", "set=3,fd=9,opaque=x", "-chardev", "file,id=c,path=/dev/fdset/3,append=on"], .descriptor(9)),
        (["-chardev", "socket,id=c,path=/s,server=on,wait=off"], .listen("/s")),
        (["-chardev", "socket,id=c,fd=7,server=on"], .listening(7)),
        (["-chardev", "socket,id=c,path=/s"], .connect("/s")), (["-chardev", "null,id=c"], .none),
        (["-chardev", "stdio,id=c"], .stdio),
    ]) func consoles(words: [String], console: ConsoleChoice) throws {
        let options = try QEMUOptions(words: words + ["-kernel", "/k", "-device", "isa-serial,chardev=c"])
        #expect(options.run.console == console)
    }

    @Test func sizes() throws {
        for (text, bytes) in [("64", 64 << 20), ("64M", 64 << 20), ("size=65536k", 64 << 20), ("1G", 1 << 30)] {
            #expect(try QEMUOptions(words: ["-kernel", "/k", "-m", text]).run.machine.memory == UInt64(bytes))
        }
        let threads = try QEMUOptions(words: ["-kernel", "/k", "-smp", "sockets=2,cores=3,threads=2"])
        #expect(threads.run.machine.vcpus == 12)
    }

    @Test(arguments: [
        (["-drive", "file=/x"], "no disks"), (["/disk.img"], "no disks"), (["-netdev", "user,id=a"], "no network"),
        (["-tpmdev", "emulator"], "no TPM"), (["-bios", "/x"], "no firmware"), (["-vnc", ":1"], "no display"),
        (["-accel", "tcg"], "guests run by KVM"), (["-cpu", "Skylake-Client"], "the host's own processor"),
        (["-cpu", "host,-x2apic"], "neither added nor taken away"), (["-m", "64,maxmem=128M"], "added later"),
        (["-m", "99999999999999T"], "a size is needed"), (["-m", "-5"], "a size is needed"), (["-m"], "needs a value"),
        (["-smp", "1,maxcpus=4"], "cannot be added later"), (["-smp", "0"], "a number from 1"),
        (["-smp", "sockets=65536,cores=65536,threads=65536,dies=65536"], "a number from 1"),
        (["-machine", "q35"], "vitrine-osv"), (["-machine", "vitrine,usb=on"], "no USB"),
        (["-machine", "vitrine-osv", "-append", "layout=osc"], "has the layout osv"),
        (["-append", "layout=none"], "there are: osv"), (["-device", "virtio-blk-device,drive=a"], "no disks"),
        (["-device", "isa-serial,chardev=x"], "there is no -chardev x"), (["-device", "{\"driver\":"], "JSON"),
        (["-device", "{\"id\":\"a\"}"], "driver= is missing"),
        (["-chardev", "pty,id=a", "-chardev", "pty,id=a"], "two of that name"),
        (["-chardev", "socket,id=a,host=localhost,port=1"], "only UNIX sockets"),
        (["-chardev", "vc,id=a"], "nothing else"), (["-chardev", "pty"], "id= is missing"),
        (["-chardev", "pty,id=a", "-mon", "chardev=a,mode=control"], "a UNIX socket that listens"),
        (["-chardev", "socket,id=a,path=/x,server=on", "-mon", "chardev=a"], "mode=control"),
        (["-sandbox", "maybe"], "on, off and log"), (["-object", "rng-random,id=a"], "no such object"),
        (["-object", "memory-backend-memfd,id=a,size=1G"], "for a machine of"), (["-no-such"], "no such option"),
        (["-incoming", "tcp:0:1"], "migrate-incoming"), (["-overcommit", "mem-lock=on"], "not locked"),
        (["-S", "-x-vitrine-stop-at", "B"], "contradict"), (["-daemonize", "-serial", "stdio"], "contradict"),
        (["-", "x"], "no disks"), ([""], "no disks"), (["-add-fd", "set=1"], "set= and fd="),
    ]) func refusals(words: [String], message: String) {
        let text = error(["-kernel", "/k"] + words)
        #expect(text.contains(message), "\(words): \(text)")
    }

    /// The confinement as QEMU's words have it, and the folder of libvirt's memory peeks by where a domain's secret lies.
    @Test func sandbox() throws {
        func options(_ words: [String]) throws -> QEMUOptions { try QEMUOptions(words: ["-kernel", "/k"] + words) }
        #expect(try options([]).run.sandbox == .on)
        #expect(try options([]).peekFolder == nil)
        let usual = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
        #expect(try options(["-sandbox", usual]).run.sandbox == .on)
        #expect(try options(["-sandbox", "off"]).run.sandbox == .off)
        #expect(try options(["-sandbox", "log"]).run.sandbox == .log)
        #expect(error(["-kernel", "/k", "-sandbox", "on,none=such"]).contains("none"))
        let object = #"{"qom-type":"secret","id":"masterKey0","format":"raw","file":"/var/lib/libvirt/qemu/d/k"}"#
        #expect(try options(["-object", object]).peekFolder == "/var/lib/libvirt/qemu/d")
    }

    /// Words that nobody would put together: options or an error that says something, and never an end of the process.
    @Test func nonsense() throws {
        var random = Random(seed: 7)
        let pieces =
            Self.usual + [
                "-", "--", "=", ",", ",,", "id=", "fd=3", "{", "{}", "{\"qom-type\":\"secret\"}", "\u{0}", "é",
                String(repeating: "a,", count: 2000), "-chardev", "-device", "-m", "-smp", "9223372036854775807", "-1",
                "18446744073709551616k", "0x", "0xffffffffffffffff", "-machine", "none", "-append", "layout=osv",
            ]
        for _ in 0..<3000 {
            let words = (0..<Int.random(in: 1...12, using: &random)).map { _ in
                pieces[Int.random(in: 0..<pieces.count, using: &random)]
            }
            #expect(!error(words).isEmpty)
        }
    }
}
