// vitrine-qemu beside QEMU, both as libvirt starts them, in a libvirtd of this run's own.

import Glibc
import GuestImages

/// The probe, the start, and the memory of a domain; libvirt's own share is taken out where its conversation is had without it.
func libvirtRows(emulator: String, rounds: Int) -> [Row] {
    let goals = (probe: "<= 50 ms", ready: ">= 3 x faster", whole: "no slower", memory: "<= 6 MiB")
    func missing(_ why: String) -> [Row] { [Row(what: "libvirt", measured: why, goal: goals.probe, met: nil)] }
    guard geteuid() == 0 else { return missing("needs root: a libvirtd in namespaces of its own") }
    guard let kernel = GuestImages.path(of: "vitrine-osv.elf"), let first = GuestImages.path(of: "bench/first-byte.elf")
    else { stop("the guest images of the benchmarks are missing: run swift build -c release") }
    let words = ["unshare", "-m", "-n", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", libvirtNamespace, "sh"]
    guard
        let run = run(words + [emulator, kernel, first, "\(rounds)", libvirtClient], quiet: true), run.status == 0,
        !run.output.isEmpty
    else { return missing("needs libvirt-daemon-system, libvirt-clients, qemu-system-x86, python3") }
    var figures: [String: Double] = [:]
    for line in String(decoding: run.output, as: UTF8.self).split(separator: "\n") {
        let parts = line.split(separator: " ")
        if parts.count == 3 { figures["\(parts[0]) \(parts[1])"] = Double(parts[2]) }
    }
    func row(_ what: String, _ name: String, goal: String, _ isMet: (Double, Double) -> Bool?) -> Row {
        let ours = figures[name + " ours"] ?? .nan
        let theirs = figures[name + " theirs"] ?? .nan
        return Row(
            what: what, measured: milliseconds(ours), reference: milliseconds(theirs) + " QEMU",
            ratio: fixed(theirs / ours, 1) + " x faster", goal: goal, met: isMet(ours, theirs))
    }
    let pss = (figures["pss ours"] ?? .nan) / 1024
    let rss = (figures["rss ours"] ?? .nan) / 1024
    return [
        row("libvirt's questions to the emulator, its start included", "probe", goal: goals.probe) { ours, _ in
            ours <= 50e-3
        },
        row("as libvirt starts it, without libvirt: to the guest's first line", "ready", goal: goals.ready) {
            $1 / $0 >= 3
        },
        row("  the same, to the guest's first instruction", "first", goal: "-") { _, _ in nil },
        row("virsh start, whole command", "virsh", goal: goals.whole) { $0 <= $1 },
        Row(
            what: "a domain's process beyond guest memory, PSS", measured: fixed(pss) + " MiB",
            reference: fixed(rss) + " MiB RSS", goal: goals.memory, met: pss <= 6),
    ]
}

/// What runs in there, with the executables and images it is given.
private let libvirtNamespace =
    libvirtdFolders + """
        cp "$1" /run/vitrine/bin/vitrine-qemu
        cp "$2" /run/vitrine/share/vitrine
        cp "$3" /run/first-byte.elf
        libvirtd -d -p /run/libvirtd.pid
        python3 -c "$5" /run/vitrine/bin/vitrine-qemu /usr/bin/qemu-system-x86_64 /run/vitrine/share/vitrine/vitrine-osv.elf \\
            /run/first-byte.elf "$4"
        """

/// Runs in there and prints the medians of what it measured, in seconds and KiB.
private let libvirtClient = #"""
    import json, os, select, shlex, socket, statistics, subprocess, sys, time

    ours, theirs, kernel, first, rounds = *sys.argv[1:5], int(sys.argv[5])
    folder = '/run/scratch'
    probe = ['query-version', 'query-target', 'query-qmp-schema', 'query-commands', 'query-kvm', 'qom-list-types',
             'query-machines', 'query-tpm-models', 'query-command-line-options', 'query-migrate-capabilities']
    devices = ['virtio-blk-pci', 'virtio-net-pci', 'virtio-scsi-pci', 'isa-serial', 'VGA', 'usb-storage', 'pvpanic',
               'ide-hd', 'PIIX4_PM', 'kvm-pit', 'ICH9-LPC', 'usb-host']

    class Monitor:
        def __init__(self, connection):
            self.file = connection.makefile('rb')
            self.connection = connection
            self.file.readline()
            self.ask('qmp_capabilities')
        def ask(self, command, **arguments):
            self.connection.sendall(json.dumps({'execute': command, 'arguments': arguments}).encode() + b'\r\n')
            while True:
                reply = json.loads(self.file.readline())
                if 'event' not in reply: return reply

    def connect(path):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        return Monitor(connection)

    def probed(emulator):
        path = folder + '/probe'
        begin = time.monotonic()
        subprocess.run([emulator, '-S', '-no-user-config', '-nodefaults', '-nographic', '-machine', 'none,accel=kvm:tcg', '-qmp',
                        'unix:%s.sock,server=on,wait=off' % path, '-pidfile', path + '.pid', '-daemonize'], check=True)
        monitor = connect(path + '.sock')
        for command in probe: monitor.ask(command)
        for device in devices: monitor.ask('device-list-properties', typename=device)
        took = time.monotonic() - begin
        pid = int(open(path + '.pid').read())
        os.kill(pid, 15)
        while os.path.exists('/proc/%d' % pid): time.sleep(0.001)
        return took

    # The command line that libvirt builds, and the conversation it has, without libvirt: to the guest's first line.
    def started(words, wanted=b'vitrine:'):
        path = folder + '/start.sock'
        if os.path.exists(path): os.unlink(path)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        os.set_inheritable(listener.fileno(), True)
        words = ['socket,id=charmonitor,fd=%d,server=on,wait=off' % listener.fileno() if 'charmonitor' in w and w.startswith('socket') else w
                 for w in words]
        begin = time.monotonic()
        process = subprocess.Popen(words, pass_fds=[listener.fileno()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        monitor = connect(path)
        monitor.ask('query-migrate-capabilities')
        chardevs = monitor.ask('query-chardev')['return']
        monitor.ask('query-cpus-fast')
        monitor.ask('qom-list', path='/machine/peripheral')
        monitor.ask('query-block')
        terminal = [c['filename'][4:] for c in chardevs if c['label'] == 'charserial0'][0]
        console = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
        monitor.ask('cont')
        text = b''
        while wanted not in text and time.monotonic() - begin < 30:
            if select.select([console], [], [], 1)[0]: text += os.read(console, 4096)
        took = time.monotonic() - begin
        process.terminate()
        process.wait()
        os.close(console)
        listener.close()
        return took

    def xml(name, emulator, machine, more):
        path = '%s/%s.xml' % (folder, name)
        with open(path, 'w') as file:
            file.write('''<domain type="kvm"><name>%s</name><memory unit="MiB">64</memory><vcpu>1</vcpu>
                <os><type arch="x86_64" machine="%s">hvm</type>%s</os><devices><emulator>%s</emulator>
                <controller type="usb" model="none"/><memballoon model="none"/><serial type="pty"/></devices></domain>'''
                % (name, machine, more, emulator))
        return path

    def virsh(*words):
        return subprocess.run(['virsh', '-q', '-c', 'qemu:///system'] + list(words), check=True, capture_output=True, text=True).stdout

    # Proportional set size without the guest's memory, in KiB.
    def beyond(name):
        pid = int(open('/run/libvirt/qemu/%s.pid' % name).read())
        total, rss, counts = 0, 0, True
        for line in open('/proc/%d/smaps' % pid):
            word = line.split()[0]
            if '-' in word and not word.endswith(':'): counts = 'memfd:' not in line
            elif counts and word == 'Pss:': total += int(line.split()[1])
            elif counts and word == 'Rss:': rss += int(line.split()[1])
        return total, rss

    direct = "<kernel>%s</kernel><cmdline>layout=osv cpus=1</cmdline>" % kernel
    domains = {'ours': xml('bench-ours', ours, 'vitrine-osv', ''), 'theirs': xml('bench-theirs', theirs, 'microvm', direct)}
    commands = {}
    for who, path in domains.items():
        virsh('define', path)
        text = virsh('domxml-to-native', 'qemu-argv', '--domain', 'bench-' + who)
        words = shlex.split(text)
        while '=' in words[0]: words.pop(0)
        # The secret's file is there only while libvirt runs the domain.
        for index in range(len(words) - 1, 0, -1):
            if words[index - 1] == '-object' and 'masterKey0' in words[index]: del words[index - 1:index + 1]
        commands[who] = words
    figures = {}
    for _ in range(rounds):
        for who, emulator in (('ours', ours), ('theirs', theirs)):
            figures.setdefault('probe ' + who, []).append(probed(emulator))
            figures.setdefault('ready ' + who, []).append(started(commands[who]))
            words = [first if w == kernel else w for w in commands[who]]
            if '-kernel' not in words: words += ['-kernel', first]
            figures.setdefault('first ' + who, []).append(started(words, b'!'))
            begin = time.monotonic()
            virsh('start', 'bench-' + who)
            figures.setdefault('virsh ' + who, []).append(time.monotonic() - begin)
            if who == 'ours':
                time.sleep(1.5)
                pss, rss = beyond('bench-ours')
                figures.setdefault('pss ours', []).append(pss)
                figures.setdefault('rss ours', []).append(rss)
            virsh('destroy', 'bench-' + who)
    for name, values in figures.items(): print(name, statistics.median(values))
    """#
