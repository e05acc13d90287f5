// The fourth row of the picture: what the host has behind each slot.

import Addresses
import GuestMemory
import SecondStage

/// What the host has behind one slot.
struct HostPages {
    /// Bytes in memory, and swapped out.
    var present: UInt64 = 0
    var swapped: UInt64 = 0
    /// Bytes by size of the host's pages.
    var bySize: [UInt64: UInt64] = [:]
    /// The lowest and the highest host physical address; nil if they are hidden.
    var lowest: HPA?
    var highest: HPA?

    /// The lines in its box.
    var lines: [String] {
        guard present > 0 else { return [swapped > 0 ? "swapped out" : "nothing", "", ""] }
        let sizes = bySize.keys.sorted().map { "\(pageName($0)) \(grouped((bySize[$0] ?? 0) / $0))" }
        return [lowest?.hex ?? "hidden", highest.map { "..\($0.hex)" } ?? "", sizes.joined(separator: " ")]
    }

    /// What is behind each slot, by its number.
    static func bySlot(_ backing: BackingPages) -> [UInt32: HostPages] {
        var found: [UInt32: HostPages] = [:]
        for run in backing.runs {
            var pages = found[run.slot] ?? HostPages()
            if run.flags.contains(.swapped) {
                pages.swapped &+= run.size
            } else {
                pages.present &+= run.size
                pages.bySize[run.pageSize, default: 0] &+= run.size
                if let hpa = run.hpa {
                    let last = hpa &+ (run.size &- 1)
                    pages.lowest = min(pages.lowest ?? hpa, hpa)
                    pages.highest = max(pages.highest ?? last, last)
                }
            }
            found[run.slot] = pages
        }
        return found
    }
}
