// Every range of a guest's tables, as the walk gives it, against KVM_TRANSLATE.

import Addresses
import GuestMemory
import JSON
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
        // Tables that refer to themselves make very many ranges: then some of them, evenly spread.
        for number in stride(from: 0, to: collector.runs.count, by: max(1, collector.runs.count / 150)) {
            let run = collector.runs[number]
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
        var beyond = 0
        // Many questions at once: the answers come in order.
        let asked = addresses.sorted()
        var answers: [GPA?] = []
        while answers.count < asked.count {
            let part = asked[answers.count..<min(answers.count + 50, asked.count)]
            answers += try guest.client.execute(
                part.map { ("x-vitrine-translate", [JSONMember("vcpu", JSON(vcpu)), JSONMember("va", .hex($0))]) },
                timeout: 40
            ).map { $0.value["gpa"]?.address.map { GPA($0) } }
        }
        for (address, theirs) in zip(asked, answers) {
            let ours = PageTables.translate(GVA(address), root: root, format: format, memory: guest.mapped).mapping?.gpa
            if ours != nil { mapped += 1 }
            guard ours != theirs else { continue }
            // KVM knows 36 bits of address in 4 MiB pages (arch/x86/kvm/mmu/paging_tmpl.h, pse36_gfn_delta), AMD's and
            // newer processors 40 (Intel SDM volume 3, table 5-4).
            if format.name == "32-bit", theirs == nil, let ours, ours.rawValue >> 36 != 0 {
                beyond += 1
                continue
            }
            different += 1
            if different <= 20 {
                say("VA \(GVA(address).hex): the walk says \(ours?.hex ?? "nothing"), KVM \(theirs?.hex ?? "nothing")")
            }
        }
        say(
            "\(format.name): \(collector.runs.count) ranges, \(addresses.count) addresses, \(mapped) of them mapped, "
                + "\(different) differ from KVM_TRANSLATE"
                + (beyond == 0 ? "" : "; \(beyond) in 4 MiB pages above 64 GiB, which KVM does not translate"))
        return different == 0 && mapped > 0 ? 0 : 1
    } catch {
        leave(4, "\(error)")
    }
}
