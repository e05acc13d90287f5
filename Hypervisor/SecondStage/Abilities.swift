// What of the second stage can be seen on this host by this user, and what each part needs: for `vitrine doctor`.

import Glibc
import SystemCalls

/// One thing that looking at the second stage needs.
public struct SecondStageAbility: Sendable {
    /// What it is: `BPF`, `frame numbers`.
    public let name: String
    /// Whether it is there.
    public let isThere: Bool
    /// What was seen.
    public let detail: String
    /// What can be done about it; nil if it is there.
    public let advice: String?
}

/// Looks at what there is, by trying it.
public enum SecondStageAbilities {
    /// Everything, in the order of what needs it.
    public static func all() -> [SecondStageAbility] {
        let tables = kernelTables()
        return [pageMap(readsKernel: tables.isThere), pageSizes(), tables, capabilities()]
    }

    /// Whether /proc/PID/pagemap shows frame numbers to this process.
    public static let seesFrames: Bool = (try? probeFrames()) ?? false

    private static func probeFrames() throws(Errno) -> Bool {
        // A page that is surely present: this function's stack.
        var probe: UInt64 = 1
        let address = withUnsafeMutablePointer(to: &probe) { UInt64(UInt(bitPattern: $0)) }
        var entry: UInt64 = 0
        let file = try PageMapFile(process: getpid())
        _ = try withUnsafeMutablePointer(to: &entry) { pointer throws(Errno) in
            try file.entries(from: address, into: UnsafeMutableBufferPointer(start: pointer, count: 1))
        }
        return PageMapEntry(entry).frame != nil
    }

    /// Frame numbers in /proc/PID/pagemap: host physical addresses of `ept`, `translate` and `map`.
    ///
    /// - Parameter readsKernel: the process's page tables can be read in the kernel's memory as well.
    private static func pageMap(readsKernel: Bool) -> SecondStageAbility {
        let sees: Bool
        do throws(Errno) {
            sees = try probeFrames()
        } catch {
            return SecondStageAbility(
                name: "page map", isThere: false, detail: error.description,
                advice: "mount /proc; CONFIG_PROC_PAGE_MONITOR")
        }
        guard !sees else {
            return SecondStageAbility(
                name: "page map", isThere: true, detail: "host physical addresses can be seen", advice: nil)
        }
        return SecondStageAbility(
            name: "page map", isThere: false,
            detail: "frame numbers are hidden" + (readsKernel ? "; ept reads them in the kernel's memory" : ""),
            advice:
                "host physical addresses in translate and map: root or CAP_SYS_ADMIN; in ept: or CAP_BPF and CAP_PERFMON"
        )
    }

    /// Page sizes of the computed view.
    private static func pageSizes() -> SecondStageAbility {
        var scans = false
        if let file = try? PageMapFile(process: getpid()) {
            scans = ((try? file.scan(from: 0, to: 4096, limit: 1)) ?? nil) != nil
        }
        let flags = FrameSizes().isReadable
        let ways = (scans ? ["PAGEMAP_SCAN"] : []) + (flags ? ["/proc/kpageflags"] : [])
        return SecondStageAbility(
            name: "page sizes", isThere: !ways.isEmpty,
            detail: ways.isEmpty ? "sizes of host pages cannot be seen" : ways.joined(separator: " and "),
            advice: ways.isEmpty ? "Linux 6.7 or newer, or root for /proc/kpageflags" : nil)
    }

    /// KVM's own tables: `ept --source kernel`, and everything about `pid:N`.
    private static func kernelTables() -> SecondStageAbility {
        func ability(_ isThere: Bool, _ detail: String, _ advice: String? = nil) -> SecondStageAbility {
            SecondStageAbility(name: "KVM's tables", isThere: isThere, detail: detail, advice: advice)
        }
        var way = "BPF"
        do throws(SecondStageError) {
            _ = try BPFKernelMemory()
        } catch {
            guard case .refused(let what, let remedy) = error else { return ability(false, error.description) }
            guard (try? KcoreMemory()) != nil else { return ability(false, what, remedy) }
            way = "/proc/kcore (BPF is refused)"
        }
        do throws(SecondStageError) {
            _ = try KVMLayout(KernelTypes())
        } catch {
            return ability(false, error.description, "load the module kvm; a kernel with CONFIG_DEBUG_INFO_BTF")
        }
        return ability(true, "can be read through \(way)")
    }

    /// Which of the capabilities that matter this process has (linux/capability.h).
    private static func capabilities() -> SecondStageAbility {
        let wanted: [(String, UInt64)] = [
            ("CAP_SYS_PTRACE", 19), ("CAP_PERFMON", 38), ("CAP_BPF", 39),
        ]
        let text = StatusFile.line("CapEff:") ?? "0"
        let set = UInt64(text, radix: 16) ?? 0
        // CAP_SYS_ADMIN stands for CAP_PERFMON and CAP_BPF.
        let isAdmin = set >> 21 & 1 != 0
        let missing = wanted.filter { set >> $0.1 & 1 == 0 && !(isAdmin && $0.1 > 21) }.map(\.0)
        return SecondStageAbility(
            name: "rights", isThere: missing.isEmpty,
            detail: missing.isEmpty
                ? "all that the second stage asks for" : "without \(missing.joined(separator: ", "))",
            advice: missing.isEmpty
                ? nil
                : "pages, translate, map and ept --source computed of this user's own guests need none; other users' processes: "
                    + "CAP_SYS_PTRACE; pid:N, ept and translate --source kernel or both: CAP_BPF and CAP_PERFMON")
    }
}

/// /proc/self/status.
enum StatusFile {
    /// What follows a name in it, without blanks.
    static func line(_ name: String) -> String? {
        guard let file = try? FileDescriptor(open: "/proc/self/status", O_RDONLY) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 8192)
        guard let count = try? file.readAll(at: 0, into: &bytes) else { return nil }
        for line in bytes.prefix(count).split(separator: 10) {
            let text = String(decoding: line, as: UTF8.self)
            if text.hasPrefix(name) {
                return String(text.dropFirst(name.utf8.count).filter { $0 != " " && $0 != "\t" })
            }
        }
        return nil
    }
}
