// A process that holds VMs as no monitor makes them: many slots, several VMs, slots that come and go.

import Addresses
import Glibc
import GuestMemory
import KVM
import Synchronization
import SystemCalls

/// Makes what the words say, prints `ready PID`, and holds it until it is ended.
func hold(_ words: [String]) -> Int32 {
    var numbers = [
        "vms": 1, "slots": 1, "pages": 1, "shared": 0, "touch": 0, "run": 0, "churn": 0, "skew": 0, "log": 0,
    ]
    for word in words {
        let parts = word.split(separator: "=")
        guard parts.count == 2, let name = parts.first.map(String.init), numbers[name] != nil,
            let value = Int(parts[1]),
            (0...(1 << 24)).contains(value)
        else { leave(2, usage) }
        numbers[name] = value
    }
    func number(_ name: String) -> Int { numbers[name] ?? 0 }
    do {
        let holder = try Holder(
            vms: number("vms"), slots: number("slots"), pages: number("pages"), shared: number("shared") != 0,
            skew: number("skew") != 0)
        if number("log") != 0 { try holder.logDirtyPages() }
        if number("touch") != 0 { holder.touch() }
        if number("run") != 0 { try holder.run() }
        say("ready \(getpid())")
        while true {
            if number("churn") != 0 { try holder.churn() } else { pause() }
        }
    } catch {
        leave(4, "\(error)")
    }
}

/// VMs with slots of their own; the memory behind them is shared or not.
private final class Holder: Sendable {
    private let machines: [VirtualMachine]
    private let slots: [MemorySlot]
    private let memory: [Memory]

    private final class Memory: @unchecked Sendable {
        let map: MemoryMap
        init(_ size: UInt64, _ file: borrowing FileDescriptor) throws(Errno) {
            map = try MemoryMap(file, size: size, alignment: 2 << 20)
        }
    }

    /// - Parameters:
    ///   - pages: of 4 KiB, of each slot.
    ///   - shared: every slot is another map of the same memory file.
    ///   - skew: slots lie a page beside a multiple of 2 MiB on the host, where they do not in the guest.
    init(vms: Int, slots count: Int, pages: Int, shared: Bool, skew: Bool) throws {
        let size = UInt64(max(1, pages)) << 12
        var memory: [Memory] = []
        if shared {
            let file = try FileDescriptor.memoryFile(named: "witness", size: size)
            for _ in 0..<count { memory.append(try Memory(size, file)) }
        } else {
            let all = size * UInt64(max(1, count)) + 4096
            memory = [try Memory(all, try FileDescriptor.memoryFile(named: "witness", size: all))]
        }
        self.memory = memory
        // Above 4 GiB, where KVM has nothing of its own, and a slot that a vCPU can start in at 0. A page lies between slots.
        slots = (0..<count).map { number in
            let start = memory[shared ? number : 0].map.address
            let offset = (shared ? 0 : UInt64(number) * size) + (skew ? 4096 : 0)
            return MemorySlot(
                id: UInt32(number), name: "",
                guestPhysicalAddress: GPA(number == 0 ? 0 : 4 << 30 + UInt64(number) * (size + 4096)), size: size,
                userspaceAddress: HVA(UInt64(UInt(bitPattern: start)) + offset))
        }
        let system = try KVMSystem()
        var machines: [VirtualMachine] = []
        for _ in 0..<vms { machines.append(try VirtualMachine(system, slots: slots)) }
        self.machines = machines
    }

    /// Has the writes to every slot of the first VM logged.
    func logDirtyPages() throws {
        for slot in slots { try machines.first?.setSlot(slot, logDirtyPages: true) }
    }

    /// Writes a word to every page.
    func touch() {
        for memory in memory {
            for page in stride(from: 0, to: memory.map.size, by: 4096) {
                memory.map.address.storeBytes(of: UInt64(page), toByteOffset: page, as: UInt64.self)
            }
        }
    }

    /// A vCPU of the first VM, in real mode, that writes a byte to each page from 0x10000 to 0xf0000 again and again.
    func run() throws {
        guard let machine = machines.first, let first = memory.first, first.map.size >= 1 << 20 else {
            leave(2, "run=1 needs a VM with pages=256 or more")
        }
        let code: [UInt8] = [
            0xbb, 0x00, 0x10,  // start: mov bx, 0x1000
            0x8e, 0xdb,  // next: mov ds, bx
            0xfe, 0x06, 0x00, 0x00,  // inc byte [0]
            0x81, 0xc3, 0x00, 0x01,  // add bx, 0x100
            0x81, 0xfb, 0x00, 0xf0,  // cmp bx, 0xf000
            0x75, 0xf0,  // jne next
            0xeb, 0xeb,  // jmp start
        ]
        guard let start = UnsafeMutableRawPointer(bitPattern: UInt(slots[0].userspaceAddress.rawValue)) else { return }
        start.advanced(by: 0x1000).copyMemory(from: code, byteCount: code.count)
        let vcpu = try machine.makeVCPU(0)
        var registers = try vcpu.registers()
        registers.cs.base = 0
        registers.cs.selector = 0
        registers.rip = 0x1000
        try vcpu.setSystemRegisters(registers)
        try vcpu.setGeneralRegisters(registers)
        _ = try HostThread(name: "vcpu", stackSize: 256 << 10) {
            while true {
                switch vcpu.enter() {
                case .interrupted: continue
                case let end: leave(1, "the vCPU ended: \(end)")
                }
            }
        }
    }

    /// Deletes the last slot and makes it again.
    func churn() throws {
        guard let machine = machines.first, let slot = slots.last else { return }
        try machine.removeSlot(slot.id)
        usleep(500)
        try machine.setSlot(slot)
        usleep(500)
    }
}
