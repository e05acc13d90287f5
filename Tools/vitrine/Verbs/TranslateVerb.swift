// vitrine translate, vitrine aliases

import Addresses
import Inspection
import Options
import PageTables
import SecondStage
import SystemCalls
import Targets

extension InspectionVerbs {
    static let translate = Verb(
        name: "translate", summary: "VA -> every table entry -> GPA -> slot -> host VA -> host PA",
        usage: "TARGET VA... [options]",
        details: """
            Follows addresses through the live tables, and from the guest physical address on through the memory slot to the
            process that runs the guest. The host physical address is shown to root.
            An address that is not mapped ends with status 1, one that is not canonical with 2.
            """,
        options: tableOptions + [
            OptionDescription("layout", "NAME", "region names of this layout"),
            OptionDescription(
                "source", "computed|kernel", "kernel: with the entries of KVM's own tables on the way (needs BPF)"),
        ],
        formats: [.text, .json],
        examples: [
            ("vitrine translate a 0xffff800000200000 0x200000", "two addresses of one page, entry by entry"),
            ("vitrine translate a ffff_8000_0020_0000 --json", "the same for a program"),
        ],
        run: { arguments, output in
            let form = try form(arguments)
            let source = arguments.value("source") ?? "computed"
            guard source == "computed" || source == "kernel" else {
                throw UsageError("--source \(source): the sources are computed and kernel")
            }
            let name = try arguments.operand("TARGET")
            let words = arguments.remainingOperands()
            guard !words.isEmpty else { throw UsageError("VA is missing: which address? (see --help)") }
            let addresses = try words.map { word in
                guard let address = GVA(parsing: word) else {
                    throw UsageError("'\(word)' is no address: hexadecimal, at most 64 bits")
                }
                return address
            }
            let target = try Targets.open(name)
            let subject = try subject(arguments, target: target)
            let pageMap: PageMap?
            do throws(Errno) { pageMap = try PageMap(process: target.pid) } catch { pageMap = nil }
            var ways: [AddressWay] = []
            for address in addresses { ways.append(AddressWay(address, in: subject, pageMap: pageMap)) }
            if source == "kernel" {
                try addSecondStage(to: &ways, target: target, vcpu: arguments.number("vcpu", in: 0...65535) ?? 0)
            }
            try target.checkReads()
            switch form {
            case .text: try output.write(translateText(ways, subject: subject, pid: target.pid))
            case .json: try output.write(bytes: translateJSON(ways, subject: subject, pid: target.pid))
            }
            if let way = ways.first(where: { $0.status == "non-canonical" }) {
                let problem = way.problem ?? ""
                throw CommandError(.usage, "\(way.translation.va.hex): \(problem)")
            }
            return ways.allSatisfy { $0.status == "mapped" } ? .success : .fault
        })

    /// Follows each address through KVM's tables as well.
    private static func addSecondStage(to ways: inout [AddressWay], target: any Target, vcpu: Int) throws {
        do throws(SecondStageError) {
            let vm = try KernelVM.open(process: target.pid, index: (target as? ProcessTarget)?.index)
            for index in ways.indices {
                guard let gpa = ways[index].mapping?.gpa else { continue }
                ways[index].secondStage = try vm.way(to: ways[index].translation.va, gpa: gpa, vcpu: vcpu)
            }
        } catch {
            throw TargetError(error, name: target.name)
        }
    }

    static let aliases = Verb(
        name: "aliases", summary: "every VA that reaches the same physical page",
        usage: "TARGET pa:PA|va:VA [options]",
        details: """
            pa:PA is a guest physical address, va:VA the physical address behind a virtual one; its page of 4 KiB is looked for.
            pa:A-B is a range of physical addresses.
            """,
        options: tableOptions + [OptionDescription("layout", "NAME", "region names of this layout")],
        formats: [.text, .json],
        examples: [
            ("vitrine aliases a pa:0x200000", "where the kernel's first page can be seen"),
            ("vitrine aliases a va:0xffff900000200000", "the other names of that address"),
        ],
        run: { arguments, output in
            let form = try form(arguments)
            let name = try arguments.operand("TARGET")
            let what = try arguments.operand("pa:PA or va:VA")
            try arguments.end()
            let target = try Targets.open(name)
            let subject = try subject(arguments, target: target)
            let report = aliasesReport(of: try physicalRange(what, subject: subject), subject: subject, form: form)
            try output.write(bytes: report.text)
            return report.count == 0 ? .fault : .success
        })

    /// `pa:PA`, `pa:A-B` or `va:VA`.
    private static func physicalRange(_ text: String, subject: Subject) throws -> ClosedRange<GPA> {
        if text.hasPrefix("va:") {
            guard let address = GVA(parsing: text.dropFirst(3)) else { throw UsageError("'\(text)' is no address") }
            let way = AddressWay(address, in: subject, pageMap: nil)
            guard let gpa = way.mapping?.gpa else {
                let problem = way.problem ?? "not mapped"
                throw CommandError(way.status == "non-canonical" ? .usage : .fault, "\(address.hex): \(problem)")
            }
            let page = gpa.alignedDown(to: 4096)
            return page...(page &+ 4095)
        }
        guard text.hasPrefix("pa:") else {
            throw UsageError("'\(text)': pa:PA or va:VA is needed, as pa:0x200000")
        }
        let parts = text.dropFirst(3).split(separator: "-", omittingEmptySubsequences: false)
        let addresses = parts.compactMap { GPA(parsing: $0) }
        guard addresses.count == parts.count, parts.count == 1 || parts.count == 2, let first = addresses.first,
            let last = addresses.last
        else { throw UsageError("'\(text)': pa:PA or pa:A-B with hexadecimal addresses is needed") }
        guard parts.count == 1 || first <= last else {
            throw UsageError("'\(text)': the first address is above the last")
        }
        if parts.count == 2 { return first...last }
        let page = first.alignedDown(to: 4096)
        return page...(page &+ 4095)
    }
}
