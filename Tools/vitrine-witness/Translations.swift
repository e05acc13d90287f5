// Every range of a guest's tables, as the walk gives it, against KVM_TRANSLATE.

import Addresses
import GuestMemory
import PageTables
import Targets

/// Compares places in and around every range of a live guest; prints what differs.
func witnessTranslations(of name: String, vcpu: Int) -> Int32 {
    do {
        let guest = try OwnGuest(named: name)
        guard case .paging(let format, let root) = try guest.registers(vcpu: vcpu).paging.mode else {
            leave(1, "'\(name)' does not use paging on vCPU \(vcpu)")
        }
        var collector = RunCollector()
        _ = walk(root: root, format: format, memory: guest.mapped, into: &collector)
        var addresses: Set<UInt64> = [0]
        for run in collector.runs {
            let first = run.va.rawValue
            let last = run.lastVA.rawValue
            for address in [
                first, first &- 1, last, last &+ 1, first &+ (last &- first) / 3, first &+ (last &- first) / 7 * 5,
            ] {
                addresses.insert(format.canonical(address))
            }
        }
        for _ in 0..<200 { addresses.insert(format.canonical(.random(in: 0...UInt64.max))) }
        var mapped = 0
        var different = 0
        for address in addresses.sorted() {
            let ours = PageTables.translate(GVA(address), root: root, format: format, memory: guest.mapped).mapping?.gpa
            let theirs = try guest.translate(GVA(address), vcpu: vcpu)
            if ours != nil { mapped += 1 }
            guard ours != theirs else { continue }
            different += 1
            if different <= 20 {
                say("VA \(GVA(address).hex): the walk says \(ours?.hex ?? "nothing"), KVM \(theirs?.hex ?? "nothing")")
            }
        }
        say(
            "\(format.name): \(collector.runs.count) ranges, \(addresses.count) addresses, \(mapped) of them mapped, "
                + "\(different) differ from KVM_TRANSLATE")
        return different == 0 && mapped > 0 ? 0 : 1
    } catch {
        leave(4, "\(error)")
    }
}
