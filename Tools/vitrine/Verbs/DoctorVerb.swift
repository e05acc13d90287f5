// vitrine doctor

import GuestFolders
import Inspection
import KVM
import Options
import Sandbox
import SystemCalls

extension InspectionVerbs {
    static let doctor = Verb(
        name: "doctor", summary: "what this host offers, and what to do about what is missing",
        usage: "[options]",
        details: "Ends with status 4 if no guest can run here.",
        formats: forms,
        examples: [("vitrine doctor", "KVM, memory, BPF, QEMU, libvirt: what is there")],
        run: { arguments, output in
            let form = try form(arguments)
            try arguments.end()
            let report = DoctorReport(kvmItems() + [runtimeFolder(), sandbox()] + HostChecks.all())
            switch form {
            case .text: try output.write(report.text(isColoured: output.isColoured))
            case .json: try output.write(bytes: report.json)
            case .csv: try output.write(bytes: report.csv)
            }
            return report.canRunGuests ? .success : .unable
        })

    /// /dev/kvm, what it can do, and how it runs kernels.
    private static func kvmItems() -> [DoctorItem] {
        let system: KVMSystem
        do throws(KVMError) { system = try KVMSystem() } catch {
            return [
                DoctorItem(
                    "KVM", .missing, "\(error)",
                    advice: "modprobe kvm_intel or kvm_amd, and membership in the group kvm, are the usual remedies",
                    needed: true)
            ]
        }
        let modules = (try? Files.names(in: "/sys/module")) ?? []
        let vendors = modules.filter { $0.hasPrefix("kvm_") }.sorted()
        var items = [
            DoctorItem(
                "KVM", .ok,
                "/dev/kvm, up to \(system.maxVCPUs) vCPUs"
                    + (vendors.isEmpty ? "" : ", module \(vendors.joined(separator: ", "))"), needed: true)
        ]
        let wanted: [Capability] = [.irqchip, .userMemory, .extendedCPUID, .pit2, .immediateExit]
        let absent = wanted.filter { system.value(of: $0) == 0 }.map(\.name)
        items.append(
            absent.isEmpty
                ? DoctorItem("capabilities", .ok, "all that guests need", needed: true)
                : DoctorItem(
                    "capabilities", .missing, "KVM lacks \(absent.joined(separator: ", "))",
                    advice: "a newer kernel has them",
                    needed: true))
        let helpful: [Capability] = [.statistics, .guestDebug, .deadlineTimer]
        let lacking = helpful.filter { system.value(of: $0) == 0 }.map(\.name)
        items.append(
            lacking.isEmpty
                ? DoctorItem("statistics", .ok, "statistics and guest debugging")
                : DoctorItem("statistics", .limited, "KVM lacks \(lacking.joined(separator: ", "))"))
        items.append(ringZero(system))
        return items
    }

    /// Whether kernels run on the processor or in KVM's instruction emulator: measured.
    private static func ringZero(_ system: KVMSystem) -> DoctorItem {
        do {
            guard let share = try RingZeroProbe.emulatedShare(system) else {
                return DoctorItem("ring 0", .limited, "KVM has no statistic that tells how kernels run")
            }
            return share < 0.01
                ? DoctorItem("ring 0", .ok, "kernels run on the processor")
                : DoctorItem(
                    "ring 0", .limited, "kernels are emulated, about a million instructions a second",
                    advice:
                        "KVM has no hardware virtualisation here: enable VT-x or AMD-V, or nested virtualisation")
        } catch {
            return DoctorItem("ring 0", .missing, "a guest of five instructions does not run: \(error)", needed: true)
        }
    }

    /// What guests' processes are confined by.
    private static func sandbox() -> DoctorItem {
        let host = Sandbox.host
        guard host.hasFilters else {
            return DoctorItem(
                "sandbox", .missing, "this kernel has no filters of system calls (seccomp)",
                advice: "a kernel with CONFIG_SECCOMP_FILTER; or --sandbox off, and guests run unconfined", needed: true
            )
        }
        guard host.landlock > 0 else {
            return DoctorItem(
                "sandbox", .limited, "filters of system calls, no Landlock",
                advice: "Linux 5.13 or later with landlock among the lsm= of its command line")
        }
        return DoctorItem("sandbox", .ok, "filters of system calls, Landlock \(host.landlock)")
    }

    private static func runtimeFolder() -> DoctorItem {
        do throws(GuestFolderError) {
            let folder = try RuntimeFolder.ofThisUser()
            return DoctorItem("runtime folder", .ok, folder.path, needed: true)
        } catch {
            return DoctorItem(
                "runtime folder", .missing, "\(error)",
                advice: "XDG_RUNTIME_DIR names a folder of yours with mode 0700",
                needed: true)
        }
    }
}
