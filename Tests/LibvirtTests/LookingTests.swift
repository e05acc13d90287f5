import Foundation
import TestSupport
import Testing

/// Looking into a domain through libvirt: memory peek, and the human monitor.
extension LibvirtTests {
    @Suite struct LookingTests {
        let libvirt: PrivateLibvirt

        init() throws { libvirt = try PrivateLibvirt.shared.get() }

        /// virDomainMemoryPeek by libvirt's C library: no verb of virsh does it.
        private static let peek = """
            import ctypes, sys
            lib = ctypes.CDLL('libvirt.so.0')
            lib.virConnectOpen.restype = lib.virDomainLookupByName.restype = ctypes.c_void_p
            lib.virDomainLookupByName.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
            lib.virDomainMemoryPeek.argtypes = [
                ctypes.c_void_p, ctypes.c_ulonglong, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_uint]
            domain = lib.virDomainLookupByName(lib.virConnectOpen(b'qemu:///system'), sys.argv[1].encode())
            size = int(sys.argv[3], 0)
            buffer = ctypes.create_string_buffer(size)
            # 1: virtual, 2: physical
            if lib.virDomainMemoryPeek(domain, int(sys.argv[2], 0), size, buffer, int(sys.argv[4])) != 0: sys.exit(1)
            print(buffer.raw.hex())
            """

        private func peek(_ domain: TestDomain, _ address: String, _ size: Int, physical: Bool) throws -> CommandResult
        {
            try libvirt.inside(
                ["/usr/bin/python3", "-c", Self.peek, domain.name, address, "\(size)", physical ? "2" : "1"])
        }

        @Test func memoryPeek() throws {
            let domain = try TestDomain(libvirt, "peek")
            try #require(try domain.start())
            // Something of our own in memory, at an address that the kernel tells.
            let reply =
                try domain.qmp(
                    "x-vitrine-exec", ["command-line": "map 4096 rw at 0x300000000000"]) as? [String: Any]
            try #require(reply?["error"] is NSNull, "\(String(describing: reply))")
            _ = try domain.qmp("x-vitrine-exec", ["command-line": "touch 0x300000000ff8 0x1122334455667788"])
            let virtual = try peek(domain, "0x300000000ff8", 8, physical: false)
            #expect(virtual.output == "8877665544332211\n", "\(virtual)")
            let translated = try domain.hmp("gva2gpa 0x300000000ff8")
            let address = try #require(
                translated.split(separator: "\n").first?.split(separator: " ").last.map(String.init))
            let physical = try peek(domain, address, 8, physical: true)
            #expect(physical.output == "8877665544332211\n", "\(translated) \(physical)")
            // Whole pages, past the end of one; the guest stands, else its kernel's own data would change in between.
            #expect(try domain.virsh("suspend").status == 0)
            let large = try peek(domain, "0xffff800000200000", 3 << 20, physical: false)
            #expect(large.output.utf8.count == (3 << 20) * 2 + 1)
            #expect(large.output == (try peek(domain, "0x200000", 3 << 20, physical: true)).output)
            // What is not there: libvirt's error, and a guest that runs on.
            #expect(try peek(domain, "0x300000001000", 8, physical: false).status == 1)
            #expect(try peek(domain, "0x4000000", 8, physical: true).status == 1)
            #expect(try domain.virsh("resume").status == 0)
            #expect(try domain.state.hasPrefix("running"))
        }

        /// The same kernel under QEMU itself, in the same libvirtd: the same answers, byte for byte.
        @Test(.enabled(if: access("/usr/bin/qemu-system-x86_64", X_OK) == 0, "needs qemu-system-x86"))
        func humanMonitorBesideQEMU() throws {
            let ours = try TestDomain(libvirt, "beside", define: false)
            let theirs = try TestDomain(libvirt, "qemu", define: false)
            let kernel = PrivateLibvirt.scratch + "/kernel.elf"
            #expect(try libvirt.shell("cp /run/vitrine/share/vitrine/vitrine-osv.elf \(kernel)").status == 0)
            // Named in both: QEMU's machine says of itself how many processors it has.
            let os = "<kernel>\(kernel)</kernel><cmdline>layout=osv cpus=1</cmdline>"
            for (domain, machine, emulator) in [
                (ours, "vitrine-osv", PrivateLibvirt.emulator), (theirs, "microvm", "/usr/bin/qemu-system-x86_64"),
            ] {
                let xml = TestDomain.xml(domain.name, os: os, emulator: emulator)
                    .replacing("vitrine-osv'", with: "\(machine)'").replacing("<vcpu>2</vcpu>", with: "<vcpu>1</vcpu>")
                let made = try libvirt.virsh("create", try libvirt.write(domain.name + ".xml", xml))
                try #require(made.status == 0, "\(made.errors)")
            }
            #expect(try ours.isReady())
            #expect(try ours.virsh("suspend").status == 0)
            let leaves = try ours.hmp("info tlb")
            // QEMU's guest takes longer to get there.
            #expect(try libvirt.wait { try theirs.hmp("info tlb") == leaves })
            #expect(try theirs.virsh("suspend").status == 0)
            #expect(try ours.hmp("info mem") == theirs.hmp("info mem"))
            #expect(leaves.split(separator: "\n").count > 1000)
            // What a program's run decides may differ; how it is written may not.
            func shape(_ text: String) -> String { text.replacing(/[0-9a-f]{8,16}/, with: "#") }
            let (own, other) = (try ours.hmp("info registers"), try theirs.hmp("info registers"))
            func withoutLDT(_ text: String) -> [Substring] {
                text.split(separator: "\n").filter { !$0.hasPrefix("LDT") && !$0.contains("RFL=") }
            }
            #expect(withoutLDT(shape(own)) == withoutLDT(shape(other)))
            for line in ["gva2gpa 0xffff900000001234", "gva2gpa 0x1", "gpa2hva 0xf0000000", "xp /4gx 0x200000", "foo"] {
                #expect(try ours.hmp(line) == theirs.hmp(line), "\(line)")
            }
        }

        @Test func humanMonitor() throws {
            let domain = try TestDomain(libvirt, "hmp")
            try #require(try domain.start())
            _ = try domain.virsh("suspend")
            let registers = try domain.hmp("info registers")
            let info = try #require(try domain.qmp("x-vitrine-registers") as? [String: Any])
            let cr3 = try #require(info["cr3"] as? String)
            #expect(registers.contains("CR3=" + String(repeating: "0", count: 18 - cr3.count) + cr3.dropFirst(2)))
            #expect(registers.contains("MXCSR=00001f80"), "\(registers)")
            #expect(try domain.hmp("info registers -a").contains("\nCPU#1\nRAX="))
            // Every leaf of `info tlb` is where `gva2gpa` and KVM itself say, and `info mem` covers it.
            let leaves = try domain.hmp("info tlb").split(separator: "\n")
            #expect(leaves.count > 1000)
            for leaf in leaves.enumerated().filter({ $0.offset % 200 == 0 }).map(\.element) {
                let words = leaf.split(separator: " ")
                let va = "0x" + words[0].dropLast()
                let gpa = try #require(UInt64(words[1], radix: 16))
                let own = try domain.hmp("gva2gpa \(va)")
                #expect(own == "gpa: \(gpa == 0 ? "0" : "0x" + String(gpa, radix: 16))\n\n", "\(leaf)")
                let kvm = try domain.qmp("x-vitrine-translate", ["va": va]) as? [String: Any]
                #expect(kvm?["gpa"] as? String == "0x" + String(gpa, radix: 16), "\(leaf)")
            }
            let stretches = try domain.hmp("info mem").split(separator: "\n")
            #expect(stretches.contains("ffff800000000000-ffff800040000000 0000000040000000 urw"), "\(stretches)")
            #expect(try domain.hmp("gpa2hva 0x1000").hasPrefix("Host virtual address for 0x1000 (low) is 0x"))
            #expect(try domain.hmp("gpa2hva 0xf0000000") == "No memory is mapped at address 0xf0000000\n\n")
            #expect(try domain.hmp("gva2gpa 0x123") == "Unmapped\n\n")
            #expect(try domain.hmp("no such thing") == "unknown command: 'no'\n\n")
            #expect(try domain.hmp("info nothing") == "unknown command: 'info nothing'\n\n")
            #expect(try domain.hmp("cont") == "\n")
            #expect(try domain.reaches("running (unpaused)"))
        }
    }
}
