// The osv kernel, the same image that runs under KVM, under QEMU's TCG: our walk of its tables against QEMU's.

import Addresses
import Foundation
import GuestImages
import GuestMemory
import PageTables
import Targets
import Testing

@Suite(.enabled(if: QEMU.isInstalled, "qemu-system-x86 is not installed")) struct OSvGuestTests {
    @Test(arguments: [("256", 2048), ("6G", 3 * 3072)]) func againstQEMU(memory: String, leastLeaves: Int) throws {
        let image = try #require(GuestImages.path(of: "vitrine-osv.elf"), "the images are built")
        let machine = try QEMU([
            "-machine", "q35", "-cpu", "max", "-m", memory, "-kernel", image, "-append", "layout=osv cpus=1", "-serial",
            "null",
        ])
        try machine.wait("the osv kernel's greeting") { machine.consoleText.contains("osv layout") }
        usleep(300_000)
        let target = try QEMUTarget(socket: machine.socket)
        // Accessed and dirty bits change while it runs.
        try target.pause()
        #expect(try compare(target, randomAddresses: 300) >= leastLeaves)
        guard case .paging(let format, let root) = try target.registers(vcpu: 0).paging.mode else {
            Issue.record("no paging")
            return
        }
        // The layout is there: one page of Core under four addresses.
        for base: UInt64 in [0, 0xffff_8000_0000_0000, 0xffff_9000_0000_0000, 0xffff_a000_0000_0000] {
            let way = translate(GVA(base + 0x20_0000), root: root, format: format, memory: target.memory)
            #expect(way.mapping?.gpa == GPA(0x20_0000))
        }
        withExtendedLifetime(machine) {}
    }
}
