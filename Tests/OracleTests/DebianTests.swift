import Foundation
import JSON
import PageTables
import Targets
import Testing

/// Debian's kernel with an initramfs of busybox alone.
enum Debian {
    /// The newest kernel that is installed, or nil.
    static let kernel: String? = {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/boot")) ?? []
        return names.filter { $0.hasPrefix("vmlinuz-") }.max().map { "/boot/" + $0 }
    }()
    static let busybox = "/bin/busybox"
    static let isInstalled = kernel != nil && access(busybox, X_OK) == 0 && QEMU.isInstalled

    /// An initramfs (cpio, format newc) with busybox and an init that reports and sleeps.
    static func initramfs() throws -> Data {
        let script = "#!/bin/busybox sh\necho READY\nwhile :; do /bin/busybox sleep 1000; done\n"
        let program = try Data(contentsOf: URL(fileURLWithPath: busybox))
        var archive = Data()
        func add(_ name: String, mode: Int, _ contents: Data) {
            let numbers = [0, mode, 0, 0, 1, 0, contents.count, 0, 0, 0, 0, name.utf8.count + 1, 0]
            var text = "070701"
            for number in numbers { text += String(format: "%08X", number) }
            archive += Data(text.utf8) + Data(name.utf8) + [0]
            archive += Data(count: (4 - archive.count % 4) % 4)
            archive += contents
            archive += Data(count: (4 - archive.count % 4) % 4)
        }
        add("bin", mode: 0o40755, Data())
        add("bin/busybox", mode: 0o100755, program)
        add("dev", mode: 0o40755, Data())
        add("init", mode: 0o100755, Data(script.utf8))
        add("TRAILER!!!", mode: 0, Data())
        return archive
    }
}

@Suite(.serialized, .enabled(if: Debian.isInstalled, "linux-image-amd64 and busybox-static are not installed"))
struct DebianTests {
    @Test(arguments: zip(["max,-la57", "max"], ["4-level", "5-level"]))
    func againstQEMU(cpu: String, mode: String) throws {
        let initramfs = NSTemporaryDirectory() + "vitrine-initramfs-\(UUID().uuidString)"
        try Debian.initramfs().write(to: URL(fileURLWithPath: initramfs))
        defer { try? FileManager.default.removeItem(atPath: initramfs) }
        let machine = try QEMU([
            "-machine", "q35", "-cpu", cpu, "-m", "256", "-kernel", try #require(Debian.kernel), "-initrd", initramfs,
            "-append", "console=ttyS0 quiet panic=-1 mitigations=off",
        ])
        try machine.wait("userspace", for: 300) { machine.consoleText.contains("READY") }
        let target = try QEMUTarget(socket: machine.socket)
        #expect(try target.pause())
        guard case .paging(let format, _) = try target.registers(vcpu: 0).paging.mode else {
            Issue.record("no paging")
            return
        }
        #expect(format.name == mode)
        let leaves = try compare(target, randomAddresses: 1000)
        #expect(leaves > 10_000)
        try Recording.keep("debian-\(mode)", target)
        let path = machine.folder + "/core"
        try target.client.execute(
            "dump-guest-memory", [JSONMember("paging", false), JSONMember("protocol", .string("file:\(path)"))],
            timeout: 120)
        let core = try CoreTarget(path: path)
        #expect(try core.registers(vcpu: 0)["rip"] == target.registers(vcpu: 0)["rip"])
        #expect(try dump(core) == dump(target))
    }
}
