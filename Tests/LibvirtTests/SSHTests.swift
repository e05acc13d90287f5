import Foundation
import TestSupport
import Testing

/// What ssh needs here.
enum SSHHost {
    /// What keeps these tests from running, if anything.
    static let missing: String? = {
        for program in ["dropbear", "dropbearkey", "ssh", "ssh-keygen", "virt-ssh-helper"]
        where !LibvirtHost.isInstalled(program) {
            return "needs \(program) (Debian: dropbear-bin, openssh-client, libvirt-daemon)"
        }
        return access(LibvirtHost.binaries.path + "/vitrine-libvirt", X_OK) == 0
            ? nil : "vitrine-libvirt was not built"
    }()
}

extension LibvirtTests {
    /// A libvirtd that is reached by ssh, as one on another host is: the same answers as from here.
    @Suite(.enabled(if: SSHHost.missing == nil, "\(SSHHost.missing ?? "")")) struct SSHTests {
        let libvirt: PrivateLibvirt

        init() throws { libvirt = try PrivateLibvirt.shared.get() }

        /// An ssh server in the namespaces, which have no other network than their own loopback, and a home of its own for root.
        private func startServer() throws {
            let made = try libvirt.shell(
                """
                set -e
                mount -t tmpfs -o mode=700 none /root
                mkdir -m 700 /root/.ssh
                dropbearkey -t ed25519 -f /root/host-key >/root/host.log 2>&1
                ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
                cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
                sed -n 's/^ssh-ed25519 \\([^ ]*\\).*/localhost ssh-ed25519 \\1/p' /root/host.log >/root/.ssh/known_hosts
                # Without the descriptor by which the end of this shell is waited for.
                bash -c 'for file in /proc/self/fd/*; do
                    number=${file##*/}; [ $number -lt 3 ] || eval "exec $number>&-"
                done; exec dropbear -r /root/host-key -s -p 127.0.0.1:22 -P /root/server.pid'
                """)
            try #require(made.status == 0, "\(made)")
            let answers = try libvirt.wait { try libvirt.shell(Self.login).status == 0 }
            let last = try libvirt.shell(Self.login)
            try #require(answers, "\(last)")
        }

        private static let login = "HOME=/root ssh root@localhost true"

        private func endServer() { _ = try? libvirt.shell("kill $(cat /root/server.pid); umount -l /root") }

        private func vitrine(_ words: [String]) throws -> CommandResult {
            try libvirt.inside(["/run/vitrine/bin/vitrine"] + words, environment: ["HOME": "/root"])
        }

        @Test func pagesOfAnotherHost() throws {
            defer { endServer() }
            try startServer()
            let domain = try TestDomain(libvirt, "ssh")
            try #require(try domain.start())
            #expect(try domain.virsh("suspend").status == 0)
            let far = "libvirt:qemu+ssh://root@localhost/system#\(domain.name)"
            let near = "libvirt:qemu:///system#\(domain.name)"
            for (verb, more) in [
                ("pages", []), ("pages", ["--view", "tree"]), ("translate", ["0xffff800000200000"]),
            ] as [(String, [String])] {
                let there = try vitrine([verb, far] + more)
                let here = try vitrine([verb, near] + more)
                #expect(there.status == 0 && here.status == 0, "\(verb): \(there.errors) \(here.errors)")
                // The first line says how the memory is read; where it is on that host is not known here.
                let rest = there.lines.dropFirst()
                #expect(here.lines.dropFirst().starts(with: rest), "\(verb): \(there.output)")
                #expect(rest.count > 3)
            }
            let heading = try vitrine(["pages", far]).lines.first ?? ""
            #expect(heading.contains("memory by libvirt's memory peek"), "\(heading)")
            // A name that the server does not know, a key that it does not take: words, and an end.
            let nobody = try vitrine(["pages", "libvirt:qemu+ssh://root@localhost/system#no-such-domain"])
            #expect(nobody.status == 3 && nobody.errors.contains("no domain"), "\(nobody)")
            let refused = try vitrine(["pages", "libvirt:qemu+ssh://nobody@localhost/system?no_tty=1#x"])
            #expect(refused.status == 4 && refused.errors.contains("does not answer"), "\(refused)")
        }
    }
}
