// vitrine translate

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
                let problem = way.problem(format: subject.format) ?? ""
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
}
