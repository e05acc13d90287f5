// What the host's processor is, as far as its second-stage tables depend on it.

import CSystem

/// The processor that this runs on.
enum HostProcessor {
    /// The vendor's 12 letters (CPUID leaf 0), as /proc/cpuinfo has them.
    static let vendor: String = {
        guard let text = ModuleParameter.value("/proc/cpuinfo", limit: 512) else { return "" }
        for line in text.split(separator: "\n") where line.hasPrefix("vendor_id") {
            return String(line.drop { $0 != ":" }.dropFirst(2))
        }
        return ""
    }()

    /// Whether it is one whose nested tables are EPT.
    static let isIntel = ["GenuineIntel", "CentaurHauls", "  Shanghai  "].contains(vendor)

    /// The bit of an entry that says that the page is encrypted, where the processor has memory encryption (SME), whether it is
    /// in use or not: it is no bit of an address in either case.
    static let encryptionBit = encryptionBit(leaf: csystem_processor_leaf(0x8000_001f))

    /// CPUID leaf 0x8000001f: EAX bit 0 says that there is SME, EBX bits 5:0 which bit it is (AMD APM volume 3, E.4.17).
    static func encryptionBit(leaf: UInt64) -> UInt64 { leaf & 1 == 0 ? 0 : 1 << (leaf >> 32 & 0x3f) }
}
