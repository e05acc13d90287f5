import Foundation
import TestSupport
import Testing

extension LibvirtTests {
    /// A domain's whole state in a file: saved, restored, dumped, kept with a snapshot.
    @Suite struct StateTests {
        let libvirt: PrivateLibvirt

        init() throws { libvirt = try PrivateLibvirt.shared.get() }

        private static let address = "0x300000000000"

        /// Maps a page and writes a number into it.
        private func mark(_ domain: TestDomain, _ value: String) throws {
            _ = try domain.qmp("x-vitrine-exec", ["command-line": "map 4096 rw at \(Self.address)"])
            let reply =
                try domain.qmp("x-vitrine-exec", ["command-line": "touch \(Self.address) \(value)"]) as? [String: Any]
            try #require(reply?["error"] is NSNull, "\(String(describing: reply))")
        }

        /// The number, as the guest's kernel itself reads it: it runs, and its tables and memory are what they were.
        private func read(_ domain: TestDomain) throws -> String {
            let reply = try domain.qmp("x-vitrine-exec", ["command-line": "touch \(Self.address)"]) as? [String: Any]
            return (reply?["lines"] as? [String])?.joined() ?? "\(String(describing: reply))"
        }

        @Test func saveAndRestore() throws {
            let domain = try TestDomain(libvirt, "save")
            try #require(try domain.start())
            try mark(domain, "0x51")
            let file = PrivateLibvirt.scratch + "/save"
            let saved = try domain.virsh("save", file)
            #expect(saved.status == 0, "\(saved.errors)")
            #expect(try domain.state == "shut off (saved)")
            #expect(try libvirt.virsh("restore", file).status == 0)
            #expect(try domain.state == "running (restored)")
            #expect(try read(domain).contains("0x51"))
            // The same by name: libvirt keeps the file, and start takes it.
            try mark(domain, "0x52")
            #expect(try domain.virsh("managedsave").status == 0)
            #expect(try domain.virsh("dominfo").output.contains("Managed save:   yes"))
            #expect(try domain.virsh("start").status == 0)
            #expect(try read(domain).contains("0x52"))
            #expect(try domain.virsh("shutdown").status == 0)
            #expect(try domain.reaches("shut off (shutdown)"))
        }

        @Test func dumpOfMemory() throws {
            let domain = try TestDomain(libvirt, "dump")
            try #require(try domain.start())
            let file = PrivateLibvirt.scratch + "/core"
            let dumped = try domain.virsh("dump", file, "--memory-only")
            #expect(dumped.status == 0, "\(dumped.errors)")
            #expect(try domain.state.hasPrefix("running"))
            // Our own tools read it, and it is a small file: what the guest did not touch is not in it.
            let live = try domain.hmp("info mem").split(separator: "\n").count
            let pages = try libvirt.inside(["/run/vitrine/bin/vitrine", "pages", "core:" + file, "--format", "csv"])
            #expect(pages.status == 0 && pages.lines.count > live, "\(pages)")
            #expect(try libvirt.shell("test $(stat -c %s \(file)) -lt 16000000").status == 0)
        }

        @Test func snapshotWithMemory() throws {
            let domain = try TestDomain(libvirt, "snapshot")
            try #require(try domain.start())
            let file = PrivateLibvirt.scratch + "/snapshot.memory"
            let made = try domain.virsh(
                "snapshot-create-as", "first", "--memspec", "file=\(file),snapshot=external")
            #expect(made.status == 0, "\(made.errors)")
            #expect(try domain.virsh("snapshot-list").output.contains("first"))
            #expect(try domain.state.hasPrefix("running"))
            #expect(try domain.isReady())
            #expect(try domain.virsh("snapshot-delete", "first", "--metadata").status == 0)
            #expect(try !domain.virsh("snapshot-list").output.contains("first"))
        }
    }
}
