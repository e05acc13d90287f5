import Foundation
import TestSupport
import Testing

extension LibvirtTests {
    /// libvirt's domains as targets of `vitrine`: ours by descriptors, QEMU's by their process or by memory peek.
    @Suite(
        .enabled(
            if: access(LibvirtHost.binaries.path + "/vitrine-libvirt", X_OK) == 0, "vitrine-libvirt was not built"))
    struct TargetTests {
        let libvirt: PrivateLibvirt

        init() throws { libvirt = try PrivateLibvirt.shared.get() }

        /// Runs `vitrine` in there.
        private func vitrine(_ words: String...) throws -> CommandResult {
            try libvirt.inside(["/run/vitrine/bin/vitrine"] + words)
        }

        @Test func ownDomain() throws {
            let domain = try TestDomain(libvirt, "target")
            try #require(try domain.start())
            let pages = try vitrine("pages", "libvirt:\(domain.name)")
            #expect(pages.status == 0, "\(pages.errors)")
            #expect(pages.lines.first?.contains("memory by descriptors through libvirt") == true, "\(pages.output)")
            #expect(pages.lines.first?.contains("layout osv") == true)
            // The same by libvirt's own dump, at one moment.
            #expect(try domain.virsh("suspend").status == 0)
            let live = try vitrine("pages", "libvirt:qemu:///system#\(domain.name)", "--view", "entries")
            #expect(try domain.virsh("dump", "--memory-only", "/run/scratch/target.core").status == 0)
            let core = try vitrine("pages", "core:/run/scratch/target.core", "--view", "entries")
            #expect(core.status == 0 && live.lines.dropFirst().elementsEqual(core.lines.dropFirst()), "\(core.errors)")
            #expect(live.lines.count > 20)
            #expect(try domain.virsh("resume").status == 0)
            let audit = try vitrine("audit", "libvirt:\(domain.name)")
            #expect(audit.status == 0, "\(audit.output) \(audit.errors)")
            // Beside our own guests.
            let list = try vitrine("list", "--libvirt", "qemu:///system")
            #expect(list.lines.contains { $0.hasPrefix(domain.name) && $0.contains("running") }, "\(list.output)")
            let json = try vitrine("list", "--libvirt", "--json")
            #expect(json.output.contains("\"domains\":[{"), "\(json.output) \(json.errors)")
        }

        @Test func whatIsNotThere() throws {
            let domain = try TestDomain(libvirt, "absent")
            for (target, status, words) in [
                ("libvirt:", 2, "a domain is needed"), ("libvirt:no-such-domain", 3, "no domain 'no-such-domain'"),
                ("libvirt:\(domain.name)", 3, "does not run"),
                ("libvirt:qemu+unix:///system?socket=/no/such/socket#x", 4, "does not answer"),
                ("libvirt:nonsense://#x", 4, "does not answer"), ("libvirt:test:///default#test", 4, "QEMU"),
            ] as [(String, Int32, String)] {
                let result = try vitrine("pages", target)
                #expect(
                    result.status == status && result.errors.contains(words),
                    "\(target): \(result.status) \(result.errors)"
                )
            }
            // Without the helper `vitrine` does everything else, and says what is missing.
            let bare = try libvirt.shell(
                "mkdir -p /run/scratch/bare && cp /run/vitrine/bin/vitrine /run/scratch/bare/ && PATH=/nowhere "
                    + "/run/scratch/bare/vitrine pages libvirt:x; echo $?; PATH=/nowhere /run/scratch/bare/vitrine list"
            )
            #expect(bare.output.hasPrefix("4\n") && bare.errors.contains("vitrine-libvirt"), "\(bare)")
        }

        /// A stock kernel under QEMU's TCG: what the tables say is what QEMU's own walk says.
        @Test(
            .enabled(if: TCGDebian.isInstalled, "needs qemu-system-x86, a kernel in /boot and busybox-static"),
            .timeLimit(.minutes(5)))
        func debianUnderTCG() throws {
            let debian = try TCGDebian(libvirt)
            try #require(debian.boots(), "\(debian.console)")
            #expect(try debian.virsh("suspend").status == 0)
            let tlb = try debian.translations()
            #expect(tlb.count > 1000)
            let result = try vitrine("pages", "libvirt:\(debian.name)", "--view", "entries", "--format", "csv")
            #expect(result.status == 0, "\(result.errors)")
            let found = TCGDebian.rows(result.lines)
            // Tables that are there again are listed once here, each time there.
            #expect(found.isSubset(of: tlb), "\(found.subtracting(tlb).count) of \(found.count) leaves are not QEMU's")
            #expect(Set(found.map(\.physical)) == Set(tlb.map(\.physical)))
            let text = try vitrine("pages", "libvirt:\(debian.name)")
            #expect(text.lines.first?.contains("memory by process") == true, "\(text.lines.first ?? "")")
            // Through libvirt alone, as on another host: the same.
            let peeked = try libvirt.inside(
                [
                    "setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "/run/vitrine/bin/vitrine",
                    "pages",
                    "libvirt:\(debian.name)",
                ])
            #expect(
                peeked.lines.first?.contains("memory by libvirt's memory peek") == true, "\(peeked.lines.first ?? "")")
            #expect(peeked.lines.dropFirst().elementsEqual(text.lines.dropFirst()))
        }
    }

    /// A domain of QEMU's TCG with Debian's kernel and busybox, which is gone with it.
    final class TCGDebian {
        let name = "t-debian"
        private let libvirt: PrivateLibvirt
        private static let kernel: String? = {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: "/boot")) ?? []
            return names.filter { $0.hasPrefix("vmlinuz-") }.max().map { "/boot/" + $0 }
        }()
        static let isInstalled =
            kernel != nil && access("/bin/busybox", X_OK) == 0 && access("/usr/bin/qemu-system-x86_64", X_OK) == 0
            && access("/usr/bin/cpio", X_OK) == 0

        init(_ libvirt: PrivateLibvirt) throws {
            self.libvirt = libvirt
            let made = try libvirt.shell(
                """
                set -e
                mkdir -p /run/scratch/debian/root/bin /run/scratch/debian/root/proc /run/scratch/debian/root/dev
                cd /run/scratch/debian
                cp \(Self.kernel ?? "") kernel
                chmod 644 kernel
                cp /bin/busybox root/bin/busybox
                printf '#!/bin/busybox sh\\necho READY\\nwhile :; do /bin/busybox sleep 1000; done\\n' >root/init
                chmod 755 root/init
                (cd root && find . | cpio -o -H newc --quiet) >initrd
                """)
            guard made.status == 0 else { throw CocoaError(.fileWriteUnknown, userInfo: ["shell": made.errors]) }
            let xml = """
                <domain type='qemu'><name>\(name)</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>
                <os><type arch='x86_64' machine='pc'>hvm</type><kernel>/run/scratch/debian/kernel</kernel>
                <initrd>/run/scratch/debian/initrd</initrd>
                <cmdline>console=ttyS0 nokaslr quiet</cmdline></os>
                <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model='none'/>
                <serial type='file'><source path='/run/scratch/debian/console'/></serial></devices></domain>
                """
            let path = try libvirt.write("debian.xml", xml)
            let result = try libvirt.virsh("create", path)
            guard result.status == 0 else { throw CocoaError(.featureUnsupported, userInfo: ["virsh": result.errors]) }
        }

        deinit { _ = try? libvirt.virsh("destroy", name) }

        func virsh(_ verb: String, _ words: String...) throws -> CommandResult {
            try libvirt.inside(["virsh", "-q", "-c", "qemu:///system", verb, name] + words)
        }

        var console: String { (try? libvirt.shell("cat /run/scratch/debian/console").output) ?? "" }

        /// Waits for its init.
        func boots() -> Bool {
            for _ in 0..<4 where libvirt.wait({ console.contains("READY") }) { return true }
            return false
        }

        /// A leaf: where it is, where it leads.
        struct Leaf: Hashable {
            let virtual: UInt64
            let physical: UInt64
        }

        /// `ffff888000000000: 0000000000000000 XG-DA---W`, a line for each page.
        func translations() throws -> Set<Leaf> {
            var found: Set<Leaf> = []
            let text = try virsh("qemu-monitor-command", "--hmp", "info tlb").output
            for line in text.split(whereSeparator: \.isNewline) {
                let words = line.split { $0 == " " || $0 == ":" || $0 == "\r" }
                guard words.count == 3, let virtual = UInt64(words[0], radix: 16),
                    let physical = UInt64(words[1], radix: 16)
                else { continue }
                found.insert(Leaf(virtual: virtual, physical: physical))
            }
            return found
        }

        /// The leaves of `pages --view entries --format csv`.
        static func rows(_ lines: [String]) -> Set<Leaf> {
            let header = lines.first?.split(separator: ",").map(String.init) ?? []
            guard let virtual = header.firstIndex(of: "va"), let physical = header.firstIndex(of: "gpa"),
                let leaf = header.firstIndex(of: "leaf"), let kind = header.firstIndex(of: "kind")
            else { return [] }
            var found: Set<Leaf> = []
            for line in lines.dropFirst() {
                let fields = line.split(separator: ",", omittingEmptySubsequences: false)
                guard fields.count == header.count, fields[leaf] != "false", fields[kind] != "repeated",
                    let va = UInt64(fields[virtual].dropFirst(2), radix: 16),
                    let pa = UInt64(fields[physical].dropFirst(2), radix: 16)
                else { continue }
                found.insert(Leaf(virtual: va, physical: pa))
            }
            return found
        }
    }
}
