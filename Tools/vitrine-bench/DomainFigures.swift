// Looking into libvirt's domains and dumping one, in a libvirtd of this run's own.

import Glibc
import GuestImages

/// `vitrine pages libvirt:DOMAIN` on a Debian guest under TCG, and `virsh dump --memory-only` of a GiB with 64 MiB touched.
///
/// - Parameter vitrine: the executable; those that it needs lie beside it.
func domainRows(vitrine: String, rounds: Int) -> [Row] {
    let goals = (pages: "<= 40 ms", dump: "<= 1 s, sparse")
    func missing(_ why: String) -> [Row] { [Row(what: "domains", measured: why, goal: goals.pages, met: nil)] }
    guard geteuid() == 0 else { return missing("needs root: a libvirtd in namespaces of its own") }
    guard let kernel = GuestImages.path(of: "vitrine-osv.elf"),
        let program = GuestImages.path(of: "programs/touch-ring3.elf")
    else { stop("the guest images of the benchmarks are missing: run swift build -c release") }
    let words = ["unshare", "-m", "-n", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", domainNamespace, "sh"]
    guard let run = run(words + [vitrine, kernel, program, "\(rounds)", domainClient], quiet: true), run.status == 0,
        !run.output.isEmpty
    else {
        return missing(
            "needs libvirt-daemon-system, libvirt-clients, qemu-system-x86, python3, busybox-static, a kernel in /boot")
    }
    var figures: [String: Double] = [:]
    for line in String(decoding: run.output, as: UTF8.self).split(separator: "\n") {
        let parts = line.split(separator: " ")
        if parts.count == 2 { figures[String(parts[0])] = Double(parts[1]) }
    }
    let pages = figures["pages"] ?? .nan
    let dump = figures["dump"] ?? .nan
    let size = (figures["size"] ?? .nan) / 1_048_576
    return [
        Row(
            what: "vitrine pages libvirt:DOMAIN, Debian under TCG", measured: milliseconds(pages), goal: goals.pages,
            met: pages <= 40e-3),
        Row(
            what: "virsh dump --memory-only, 1 GiB, 64 MiB touched", measured: milliseconds(dump),
            reference: fixed(size) + " MiB on disk", goal: goals.dump, met: dump <= 1 && size < 256),
    ]
}

/// What runs in there, with the executables and images it is given.
private let domainNamespace =
    libvirtdFolders + """
        cp "$1" "$1-qemu" "$1-libvirt" /run/vitrine/bin
        cp "$2" "$3" /run/vitrine/share/vitrine
        libvirtd -d -p /run/libvirtd.pid
        cd /run/scratch
        mkdir -p root/bin root/proc root/dev
        cp "$(ls /boot/vmlinuz-* | tail -n 1)" kernel
        chmod 644 kernel
        cp /bin/busybox root/bin/busybox
        printf '#!/bin/busybox sh\\necho READY\\nwhile :; do /bin/busybox sleep 1000; done\\n' >root/init
        chmod 755 root/init
        (cd root && find . | cpio -o -H newc --quiet) >initrd
        python3 -c "$5" "$4"
        """

/// Runs in there and prints the medians of what it measured, in seconds and bytes.
private let domainClient = #"""
    import json, os, statistics, subprocess, sys, time

    rounds = int(sys.argv[1])
    def virsh(*words):
        return subprocess.run(['virsh', '-q', '-c', 'qemu:///system'] + list(words), check=True, capture_output=True, text=True).stdout
    def create(name, text):
        with open(name + '.xml', 'w') as file: file.write(text)
        virsh('create', name + '.xml')
    def wait(condition):
        for _ in range(1800):
            if condition(): return
            time.sleep(0.1)
        sys.exit(1)

    create('own', '''<domain type="kvm" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0"><name>own</name>
        <memory unit="MiB">1024</memory><vcpu>1</vcpu>
        <os><type arch="x86_64" machine="vitrine-osv">hvm</type><cmdline>ring=3 args=16384,1</cmdline></os>
        <devices><emulator>/run/vitrine/bin/vitrine-qemu</emulator><controller type="usb" model="none"/>
        <memballoon model="none"/><serial type="pty"/></devices>
        <qemu:commandline><qemu:arg value="-x-vitrine-program"/>
        <qemu:arg value="/run/vitrine/share/vitrine/touch-ring3.elf"/></qemu:commandline></domain>''')
    def ended():
        info = json.loads(virsh('qemu-monitor-command', 'own', '{"execute":"x-vitrine-info"}'))['return']
        return info['programs'][0]['status'] is not None
    wait(ended)
    dumps, size = [], 0
    for _ in range(rounds):
        begin = time.monotonic()
        virsh('dump', '--memory-only', 'own', '/run/scratch/core')
        dumps.append(time.monotonic() - begin)
        size = os.stat('/run/scratch/core').st_blocks * 512
        os.unlink('/run/scratch/core')
    virsh('destroy', 'own')
    create('debian', '''<domain type="qemu"><name>debian</name><memory unit="MiB">256</memory><vcpu>1</vcpu>
        <os><type arch="x86_64" machine="pc">hvm</type><kernel>/run/scratch/kernel</kernel>
        <initrd>/run/scratch/initrd</initrd><cmdline>console=ttyS0 quiet</cmdline></os>
        <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model="none"/>
        <serial type="file"><source path="/run/scratch/console"/></serial></devices></domain>''')
    wait(lambda: os.path.exists('console') and b'READY' in open('console', 'rb').read())
    looks = []
    for _ in range(rounds):
        begin = time.monotonic()
        subprocess.run(['/run/vitrine/bin/vitrine', 'pages', 'libvirt:debian'], check=True, stdout=subprocess.DEVNULL)
        looks.append(time.monotonic() - begin)
    virsh('destroy', 'debian')
    print('pages', statistics.median(looks))
    print('dump', statistics.median(dumps))
    print('size', size)
    """#
