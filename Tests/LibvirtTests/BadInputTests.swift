import Foundation
import TestSupport
import Testing

extension LibvirtTests {
    /// Clients, domains and libvirts that do what they should not.
    @Suite struct BadInputTests {
        let libvirt: PrivateLibvirt

        init() throws { libvirt = try PrivateLibvirt.shared.get() }

        /// A hundred connections to a monitor: one never reads, one stops in the middle of a message, the others want answers.
        private static let clients = """
            import json, socket, sys
            def connect():
                client = socket.socket(socket.AF_UNIX)
                client.settimeout(60)
                client.connect(sys.argv[1])
                lines = client.makefile('rb')
                assert b'QMP' in lines.readline()
                return client, lines
            def ask(client, lines, command):
                client.sendall(json.dumps({'execute': command}).encode() + b'\\r\\n')
                while True:
                    reply = json.loads(lines.readline())
                    if 'event' not in reply: return reply
            clients = [connect() for _ in range(100)]
            deaf, _ = clients[0]
            deaf.setblocking(False)
            deaf.sendall(b'{"execute":"qmp_capabilities"}\\n')
            try:
                for _ in range(200000): deaf.send(b'{"execute":"query-commands"}\\n' * 20)
            except (BlockingIOError, ConnectionError): pass
            half, _ = clients[1]
            half.sendall(b'{"execute":"qmp_capabilities"}\\n{"execute":"sto')
            answers = 0
            for client, lines in clients[2:]: assert ask(client, lines, 'qmp_capabilities')['return'] == {}
            for _ in range(5):
                for client, lines in clients[2:]:
                    answers += ask(client, lines, 'query-status')['return']['status'] == 'running'
            print(answers)
            """

        @Test func aHundredClients() throws {
            let domain = try TestDomain(libvirt, "clients", define: false)
            let socket = PrivateLibvirt.scratch + "/clients.qmp"
            let words = ["-qmp", "unix:\(socket),server=on,wait=off"].map { "<qemu:arg value='\($0)'/>" }.joined()
            let xml = TestDomain.xml(domain.name, more: "<qemu:commandline>\(words)</qemu:commandline>")
            let made = try libvirt.virsh("create", try libvirt.write("clients.xml", xml))
            try #require(made.status == 0, "\(made.errors)")
            #expect(try domain.isReady())
            let result = try libvirt.inside(["python3", "-c", Self.clients, socket], timeout: 120)
            #expect(result.output == "490\n", "\(result)")
            // libvirt's own monitor was served meanwhile, and is now.
            #expect(try domain.hmp("info status") == "VM status: running\n\n")
            #expect(try domain.virsh("destroy").status == 0)
        }

        /// A domain ends while it is looked at, each time at another moment; and a libvirt accepts a connection and says nothing.
        @Test func whatVanishesAndWhatNeverAnswers() throws {
            let domain = try TestDomain(libvirt, "vanishing")
            let script = """
                cd /run/scratch
                python3 -c '
                import socket, time
                server = socket.socket(socket.AF_UNIX)
                server.bind("silent")
                server.listen()
                open("listening", "w")
                time.sleep(60)' &
                listener=$!
                while [ ! -e listening ]; do sleep 0.05; done
                (timeout 100 /run/vitrine/bin/vitrine pages 'libvirt:qemu+unix:///system?socket=/run/scratch/silent#x' 2>silence
                    echo $? >silence.status) &
                silence=$!
                for delay in 0.00 0.01 0.015 0.02 0.025 0.03 0.035 0.04 0.05 0.08; do
                    virsh -q -c qemu:///system start \(domain.name) >/dev/null
                    (timeout 100 /run/vitrine/bin/vitrine pages libvirt:\(domain.name) >/dev/null 2>vanished; echo "$? $(cat vanished)") &
                    look=$!
                    sleep $delay
                    virsh -q -c qemu:///system destroy \(domain.name) >/dev/null
                    wait $look
                done
                virsh -q -c qemu:///system start \(domain.name) >/dev/null
                (timeout 100 /run/vitrine/bin/vitrine watch libvirt:\(domain.name) >watched 2>ended
                    echo "watch $? $(cat ended)") &
                watch=$!
                while [ ! -s watched ]; do sleep 0.05; done
                virsh -q -c qemu:///system destroy \(domain.name) >/dev/null
                wait $watch
                wait $silence
                kill $listener
                echo "silence $(cat silence.status) $(cat silence)"
                """
            let lines = try libvirt.shell(script, timeout: 240).lines
            #expect(lines.count == 12, "\(lines)")
            for line in lines.dropLast(2) {
                // Seen whole before the end, or gone, or something of it could not be asked any more: said in words.
                let isWhole = line == "0 "
                let isSaid = ["3 vitrine: ", "4 vitrine: "].contains { line.hasPrefix($0) }
                #expect(isWhole || isSaid, "\(line)")
            }
            #expect(lines.contains { $0.hasPrefix("watch 3 vitrine: 'libvirt:\(domain.name)' ended") }, "\(lines)")
            #expect(lines.last?.hasPrefix("silence 4 vitrine: ") == true, "\(lines.last ?? "")")
            #expect(lines.last?.contains("does not answer within 15 s") == true, "\(lines.last ?? "")")
            // The daemon is well.
            #expect(try domain.start())
        }

        /// Without libvirt's library `vitrine` does everything else, and says what is missing.
        @Test func withoutTheLibrary() throws {
            let script = """
                library=$(ldd /run/vitrine/bin/vitrine-libvirt | sed -n 's/.*libvirt.so.0 => \\([^ ]*\\).*/\\1/p')
                mount --bind /dev/null "$(realpath "$library")"
                export XDG_RUNTIME_DIR=/run/scratch
                /run/vitrine/bin/vitrine pages libvirt:web; echo $?
                /run/vitrine/bin/vitrine list
                """
            let result = try libvirt.inside(["unshare", "-m", "/bin/sh", "-c", script])
            #expect(result.output.hasPrefix("4\nno guests"), "\(result)")
            #expect(result.errors.contains("apt-get install libvirt0"), "\(result)")
        }
    }
}
