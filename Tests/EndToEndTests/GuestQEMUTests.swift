// The same kernel image under QEMU's TCG, entered by PVH: an oracle for what the kernel does on a machine that is not ours.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Host.hasQEMU, "needs qemu-system-x86_64")) struct GuestUnderQEMU {
    /// Runs QEMU with lines for the kernel's monitor on COM2 and returns what came back and what the console says.
    ///
    /// Where the firmware clears low memory before it starts a kernel (SeaBIOS does, from 0x7000 to 0x90000), one that lies there
    /// cannot be started: `microvm` has another firmware, and needs to be told of its devices.
    func run(
        machine: String, cpus: Int, layout: String = "osv", memory: String = "128", program: String? = nil,
        argument: String = "", lines: [String]
    ) throws -> (answers: String, console: String) {
        let folder = FileManager.default.temporaryDirectory.appending(path: "vt-\(UInt32.random(in: 0...UInt32.max))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        let console = folder.appending(path: "console").path
        let socket = folder.appending(path: "monitor").path
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/qemu-system-x86_64")
        process.arguments = [
            "-accel", "tcg", "-M", machine, "-m", memory, "-smp", "\(cpus)", "-nodefaults", "-display", "none",
            "-no-reboot", "-kernel", try image("vitrine-\(layout).elf"), "-append",
            "layout=\(layout) cpus=\(cpus) args=\(argument)",
            "-chardev", "file,id=console,path=\(console)",
            "-chardev", "socket,id=monitor,server=on,wait=on,path=\(socket)",
            "-device", "isa-serial,chardev=console,index=0", "-device", "isa-serial,chardev=monitor,index=1",
            "-device", "isa-debug-exit,iobase=0x501,iosize=1",
        ]
        // As a multiboot module: the first program.
        if let program { process.arguments? += ["-initrd", try image("programs/\(program).elf")] }
        process.standardError = FileHandle.nullDevice
        try process.run()
        defer {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        let script = """
            import socket, sys, time
            s = socket.socket(socket.AF_UNIX)
            for _ in range(400):
                try: s.connect(sys.argv[1]); break
                except OSError: time.sleep(0.05)
            s.settimeout(60)
            deadline = time.time() + 60
            while 'vitrine:' not in open(sys.argv[2]).read() and time.time() < deadline: time.sleep(0.05)
            time.sleep(0.2)
            for line in sys.argv[3:]:
                s.sendall(line.encode() + b'\\n')
                got = b''
                while not (got.endswith(b'ok\\n') or b'error' in got and got.endswith(b'\\n')):
                    part = s.recv(4096)
                    if not part: sys.exit(0)
                    got += part
                sys.stdout.write(got.decode()); sys.stdout.flush()
            """
        let result = try command("/usr/bin/python3", ["-c", script, socket, console] + lines, timeout: 120)
        return (result.output + result.errors, (try? String(contentsOfFile: console, encoding: .utf8)) ?? "")
    }

    @Test(arguments: [("q35", 2), ("pc", 1)]) func boots(machine: String, cpus: Int) throws {
        let (answers, console) = try run(
            machine: machine, cpus: cpus,
            lines: [
                "stage", "cpus", "alloc 64", "alloc 4096", "alloc 65536", "map 4096 rw at 0x300000000000",
                "touch 0x300000000000 0x1234", "protect 0x300000000000 4096 none", "touch 0x300000000000",
                "touch 0xffff800000200000", "debug-alloc 100",
            ])
        #expect(console.contains("vitrine: osv layout"), "\(console)")
        #expect(answers.contains("stage=R\nok\n"), "\(answers)")
        #expect(answers.contains("cpu=\(cpus - 1) apic=\(cpus - 1) state=online"), "\(answers)")
        for area in ["va=0xffffa000", "va=0xffff9000", "va=0xffff8000", "va=0xffffb000"] {
            #expect(answers.contains(area), "\(answers)")
        }
        #expect(answers.contains("va=0x300000000000 value=0x1234\n"), "\(answers)")
        #expect(answers.contains("error: fault=0x300000000000 code=0x"), "\(answers)")
    }

    /// The other layouts: ring 3 by SYSCALL and SYSRET's way back, as on a processor.
    @Test func processes() throws {
        let (answers, console) = try run(
            machine: "q35", cpus: 2, layout: "osc", program: "process",
            lines: [
                "stage", "ps", "fork 0", "in 1 touch 0x200000000000", "in 1 touch 0x200000000000 5", "kill 1", "ps",
            ])
        #expect(console.contains("process: number 0, page 0x200000000000"), "\(console)")
        #expect(answers.contains("program=1 parent=0\n"), "\(answers)")
        #expect(answers.contains("va=0x200000000000 value=0x5649"), "\(answers)")
        #expect(answers.contains("va=0x200000000000 value=0x5\n"), "\(answers)")
        #expect(answers.contains("state=exited status=0 parent=0"), "\(answers)")
        let linux = try run(
            machine: "q35", cpus: 2, layout: "linux", program: "linux-process",
            lines: ["stage", "in 0 bounds", "in 0 map 4096 rw", "in 0 touch 0x0", "fork 0", "in 1 brk", "kill 1", "ps"])
        #expect(linux.console.contains("process: number 1, page 0x7"), "\(linux.console)")
        #expect(linux.answers.contains("code=0x40") && linux.answers.contains("stack-end=0x7ff"), "\(linux.answers)")
        #expect(linux.answers.contains("error: fault=0x0 code=0x0\n"), "\(linux.answers)")
        #expect(linux.answers.contains("state=exited status=0 parent=0"), "\(linux.answers)")
        let panda = try run(
            machine: "q35", cpus: 2, layout: "panda", program: "panda",
            lines: ["stage", "in 0 bounds", "in 0 buffer 4096", "in 0 touch 0x0", "in 0 brk", "kill 0", "ps"])
        #expect(panda.console.contains("panda: process 0, buffer 0x10000000000 written"), "\(panda.console)")
        #expect(panda.answers.contains("va=0x10000003000 size=4096\n"), "\(panda.answers)")
        #expect(panda.answers.contains("break=0x100003000\n"), "\(panda.answers)")
        #expect(panda.answers.contains("state=exited status=0 parent=-1"), "\(panda.answers)")
        let offsets = try run(
            machine: "q35", cpus: 1, layout: "osc-initial", program: "offsets", lines: ["stage", "ps"])
        #expect(offsets.console.contains("offsets: process 0 at 0x100000000000, refused 3 of 3"), "\(offsets.console)")
    }

    /// The kernel in low memory, its heap against its devices, and a process.
    @Test func courseos() throws {
        let (answers, console) = try run(
            machine: "microvm,pic=on,pit=on,isa-serial=off", cpus: 2, layout: "courseos", program: "process",
            argument: "idle",
            lines: [
                "stage", "cpus", "areas", "work heap 1 50", "work map 1 50", "work collide 1 10000", "fork 0",
                "in 1 touch 0x40000000", "kill 1", "stats",
            ])
        #expect(console.contains("process: number 0, page 0x40000000"), "\(console)")
        #expect(answers.contains("cpu=1 apic=1 state=online"), "\(answers)")
        #expect(answers.contains("area=mmio base=0xffffe000 end=0x100000000"), "\(answers)")
        #expect(answers.contains("intact=yes\n"), "\(answers)")
        #expect(answers.contains("va=0x40000000 value=0x5649"), "\(answers)")
        #expect(answers.contains("root=0x4000\n"), "\(answers)")
    }

    /// APs through the GDTR at 0x6000, the vm server, and tasks that get their pages from it.
    @Test func resea() throws {
        let (answers, console) = try run(
            machine: "q35", cpus: 2, layout: "resea", memory: "320", argument: "idle",
            lines: [
                "stage", "cpus", "in 2 touch 0x4200000 5", "in 2 touch 0x2fff000", "load 2", "kill 3", "ps", "server",
            ])
        #expect(console.contains("process: number 1, page 0x10000000"), "\(console)")
        #expect(answers.contains("cpu=1 apic=1 state=online"), "\(answers)")
        #expect(answers.contains("va=0x4200000 value=0x5\n"), "\(answers)")
        #expect(answers.contains("va=0x2fff000 value=0x656c6469\n"), "\(answers)")  // "idle"
        #expect(answers.contains("name=still base=0x1000000 state=exited"), "\(answers)")
        #expect(answers.contains("refusals=0 argument=idle\n"), "\(answers)")
    }
}
