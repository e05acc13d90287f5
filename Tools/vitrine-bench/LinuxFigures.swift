// A complete dump of a real Linux guest of QEMU, beside QEMU's own of the same tables.

import Glibc
import JSON
import Targets

/// Debian's kernel under QEMU's TCG: the whole command `vitrine pages`, and `info tlb` through a monitor client.
func linuxRows(vitrine: String, runtime: String, repetitions: Int) -> [Row] {
    let what = "pages of a Debian guest under QEMU, whole command"
    let goal = "<= 25 ms, >= 8 x faster"
    let folder = runtime + "/linux"
    let socket = folder + "/qmp.sock"
    // Any initramfs: one that says that it is there, and sleeps.
    let prepare = """
        set -e
        kernel=$(ls /boot/vmlinuz-* | sort -V | tail -n 1)
        mkdir -p \(folder)/root/bin && cd \(folder)/root && cp /bin/busybox bin/
        printf '#!/bin/busybox sh\\necho READY\\nwhile :; do /bin/busybox sleep 1000; done\\n' > init && chmod 755 init
        find . | cpio -o -H newc --quiet > ../initramfs && cp "$kernel" ../kernel
        """
    defer { _ = run(["rm", "-rf", folder], quiet: true) }
    guard run(["sh", "-c", prepare], quiet: true)?.status == 0,
        let machine = Child(
            [
                "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg", "-cpu",
                "max,-la57", "-m", "256", "-kernel", folder + "/kernel", "-initrd", folder + "/initramfs", "-append",
                "console=ttyS0 quiet panic=-1", "-serial", "stdio", "-qmp", "unix:\(socket),server=on,wait=off",
            ], quiet: true)
    else {
        return [
            Row(what: what, measured: "needs qemu-system-x86, linux-image-amd64, busybox, cpio", goal: goal, met: nil)
        ]
    }
    defer {
        kill(machine.pid, SIGKILL)
        _ = machine.finish()
    }
    var console = ""
    var buffer = [UInt8](repeating: 0, count: 4096)
    while !console.contains("READY") {
        let count = read(machine.output, &buffer, buffer.count)
        guard count > 0 else { stop("the Debian guest ended: \(console.suffix(200))") }
        console += String(decoding: buffer[..<count], as: UTF8.self)
    }
    usleep(500_000)
    var ours = Sample()
    var theirs = Sample()
    var lines = 0
    var leaves = 0
    for _ in 0..<max(5, repetitions / 2) {
        guard let one = run([vitrine, "pages", "qmp:" + socket]), one.status == 0 else { stop("vitrine pages failed") }
        ours.add(one.whole)
        lines = one.output.count { $0 == 10 }
        let start = now()
        guard let client = try? QMPClient(path: socket, name: "qmp:" + socket),
            let text = try? client.execute(
                "human-monitor-command", [JSONMember("command-line", .string("info tlb"))]
            ).value.text
        else {
            stop("QEMU's monitor does not answer")
        }
        theirs.add(now() - start)
        leaves = text.utf8.count { $0 == 10 }
    }
    let ratio = theirs.median / ours.median
    return [
        Row(
            what: what, measured: "\(milliseconds(ours.median)), \(lines) lines",
            reference: "\(milliseconds(theirs.median)) info tlb, \(leaves) lines", ratio: fixed(ratio, 1) + " x faster",
            goal: goal, met: ours.median <= 25e-3 && ratio >= 8)
    ]
}
