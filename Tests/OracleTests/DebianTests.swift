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
    /// A module of that kernel without dependencies, or nil if it is compressed.
    static let module: String? = kernel.flatMap { kernel in
        let version = kernel.split(separator: "/").last.map { $0.dropFirst("vmlinuz-".count) } ?? ""
        let path = "/lib/modules/\(version)/kernel/lib/crc-itu-t.ko"
        return access(path, R_OK) == 0 ? path : nil
    }
    static let isInstalled = kernel != nil && access(busybox, X_OK) == 0 && QEMU.isInstalled

    /// An initramfs (cpio, format newc) with busybox and an init that says where the kernel is, and sleeps.
    static func initramfs() throws -> Data {
        let script = """
            #!/bin/busybox sh
            b=/bin/busybox
            $b mount -t proc proc /proc
            echo 0 > /proc/sys/kernel/kptr_restrict
            [ -e /module.ko ] && $b insmod /module.ko
            $b grep -w -E '\(DebianFacts.symbols.joined(separator: "|"))' /proc/kallsyms
            $b sed 's/^/module /' /proc/modules
            $b grep -E 'System RAM|Kernel code' /proc/iomem
            echo READY
            while :; do $b sleep 1000; done

            """
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
        add("proc", mode: 0o40755, Data())
        if let module { add("module.ko", mode: 0o100644, try Data(contentsOf: URL(fileURLWithPath: module))) }
        add("init", mode: 0o100755, Data(script.utf8))
        add("TRAILER!!!", mode: 0, Data())
        return archive
    }
}

/// How a Debian is started.
struct DebianBoot: CustomTestStringConvertible, Sendable {
    let mode: String
    let arguments: [String]
    let append: String
    /// With KASLR every leaf is compared with QEMU's too; without it page tables are isolated, and RAM is in two pieces.
    let isRandomised: Bool

    var testDescription: String { "\(mode), \(append)" }

    static let all = [
        DebianBoot(
            mode: "4-level", arguments: ["-cpu", "max,-la57", "-m", "256"], append: "mitigations=off",
            isRandomised: true),
        DebianBoot(
            mode: "5-level", arguments: ["-cpu", "max", "-m", "256"], append: "mitigations=off", isRandomised: true),
        DebianBoot(
            mode: "4-level", arguments: ["-cpu", "max,-la57", "-m", "3G"], append: "nokaslr pti=on", isRandomised: false
        ),
        DebianBoot(
            mode: "5-level", arguments: ["-cpu", "max", "-m", "3G"], append: "nokaslr pti=on", isRandomised: false),
    ]
}

@Suite(.serialized, .enabled(if: Debian.isInstalled, "linux-image-amd64 and busybox-static are not installed"))
struct DebianTests {
    @Test(arguments: DebianBoot.all) func againstQEMUAndItself(boot: DebianBoot) throws {
        let initramfs = NSTemporaryDirectory() + "vitrine-initramfs-\(UUID().uuidString)"
        try Debian.initramfs().write(to: URL(fileURLWithPath: initramfs))
        defer { try? FileManager.default.removeItem(atPath: initramfs) }
        let machine = try QEMU(
            [
                "-machine", "q35", "-kernel", try #require(Debian.kernel), "-initrd", initramfs, "-append",
                "console=ttyS0 quiet panic=-1 \(boot.append)",
            ] + boot.arguments)
        try machine.wait("userspace", for: 300) { machine.consoleText.contains("READY") }
        let target = try QEMUTarget(socket: machine.socket)
        #expect(try target.pause())
        guard case .paging(let format, _) = try target.registers(vcpu: 0).paging.mode else {
            Issue.record("no paging")
            return
        }
        #expect(format.name == boot.mode)
        try compareNames(target, facts: DebianFacts(machine.consoleText), boot: boot)
        guard boot.isRandomised else { return }
        let leaves = try compare(target, randomAddresses: 1000)
        #expect(leaves > 10_000)
        try Recording.keep("debian-\(boot.mode)", target)
        let path = machine.folder + "/core"
        try target.client.execute(
            "dump-guest-memory", [JSONMember("paging", false), JSONMember("protocol", .string("file:\(path)"))],
            timeout: 120)
        let core = try CoreTarget(path: path)
        #expect(try core.registers(vcpu: 0)["rip"] == target.registers(vcpu: 0)["rip"])
        #expect(try dump(core) == dump(target))
    }
}
