// What CPUID answered a saved guest, and whether this host's processor can answer that too.

import CSystem
import SavedGuests

extension CPUID {
    /// The fields of its section.
    public func write(_ fields: inout FieldWriter) {
        fields.u32(UInt32(clamping: entries.count))
        for entry in entries { fields.structure(entry) }
    }

    /// Reads the fields.
    public init(_ fields: inout FieldReader) throws(SavedGuestError) {
        entries = []
        for number in 0..<(try fields.count("number of CPUID leaves", limit: 256)) {
            entries.append(try fields.structure("CPUID leaf \(number)", as: kvm_cpuid_entry2.self))
        }
    }

    /// A leaf with its four registers.
    private func leaf(_ function: UInt32, _ index: UInt32) -> kvm_cpuid_entry2? {
        // Bit 0 of the flags: the index counts (KVM_CPUID_FLAG_SIGNIFCANT_INDEX).
        entries.first { $0.function == function && ($0.flags & 1 == 0 || $0.index == index) }
    }

    /// Registers that hold features, a bit each (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E; the last are
    /// KVM's own, Documentation/virt/kvm/x86/cpuid.rst).
    private static let features: [(leaf: UInt32, index: UInt32, register: String)] = [
        (1, 0, "ecx"), (1, 0, "edx"), (7, 0, "ebx"), (7, 0, "ecx"), (7, 0, "edx"), (7, 1, "eax"), (7, 1, "edx"),
        (7, 2, "edx"), (0xd, 0, "eax"), (0xd, 0, "edx"), (0xd, 1, "eax"), (0xd, 1, "ecx"), (0x8000_0001, 0, "ecx"),
        (0x8000_0001, 0, "edx"), (0x8000_0007, 0, "edx"), (0x8000_0008, 0, "ebx"), (0x8000_0021, 0, "eax"),
        (0x4000_0001, 0, "eax"),
    ]

    private static func value(_ leaf: kvm_cpuid_entry2?, _ register: String) -> UInt32 {
        guard let leaf else { return 0 }
        switch register {
        case "eax": return leaf.eax
        case "ebx": return leaf.ebx
        case "ecx": return leaf.ecx
        default: return leaf.edx
        }
    }

    /// What a guest that was told `self` needs and a host that offers `host` lacks, by name; empty: it can run there.
    public func missing(on host: CPUID) -> [String] {
        var missing: [String] = []
        for (function, index, register) in CPUID.features {
            let wanted = CPUID.value(leaf(function, index), register)
            let offered = CPUID.value(host.leaf(function, index), register)
            for bit in 0..<32 as Range<UInt32> where wanted & ~offered & 1 << bit != 0 {
                missing.append(CPUID.name(function, index, register, bit))
            }
        }
        if maxPhysicalAddressBits != host.maxPhysicalAddressBits {
            missing.append(
                "\(maxPhysicalAddressBits) bits of physical address (this host has \(host.maxPhysicalAddressBits))")
        }
        return missing
    }

    private static func name(_ function: UInt32, _ index: UInt32, _ register: String, _ bit: UInt32) -> String {
        let place = "CPUID 0x\(String(function, radix: 16)).\(index) \(register) bit \(bit)"
        let known = names["\(String(function, radix: 16)).\(index).\(register)"] ?? [:]
        return known[bit].map { "\($0) (\(place))" } ?? place
    }

    /// The names of Linux's arch/x86/include/asm/cpufeatures.h, of those that processors of our time differ in.
    private static let names: [String: [UInt32: String]] = [
        "1.0.ecx": [
            0: "sse3", 1: "pclmulqdq", 9: "ssse3", 12: "fma", 13: "cx16", 17: "pcid", 19: "sse4_1", 20: "sse4_2",
            21: "x2apic", 22: "movbe", 23: "popcnt", 24: "tsc_deadline_timer", 25: "aes", 26: "xsave", 28: "avx",
            29: "f16c", 30: "rdrand",
        ],
        "7.0.ebx": [
            0: "fsgsbase", 1: "tsc_adjust", 3: "bmi1", 5: "avx2", 7: "smep", 8: "bmi2", 9: "erms", 10: "invpcid",
            14: "mpx", 16: "avx512f", 17: "avx512dq", 18: "rdseed", 19: "adx", 20: "smap", 23: "clflushopt",
            24: "clwb", 28: "avx512cd", 29: "sha_ni", 30: "avx512bw", 31: "avx512vl",
        ],
        "7.0.ecx": [
            1: "avx512vbmi", 2: "umip", 3: "pku", 6: "avx512_vbmi2", 8: "gfni", 9: "vaes", 10: "vpclmulqdq",
            11: "avx512_vnni", 12: "avx512_bitalg", 14: "avx512_vpopcntdq", 16: "la57", 22: "rdpid",
        ],
        "7.0.edx": [22: "amx_bf16", 23: "avx512_fp16", 24: "amx_tile", 25: "amx_int8"],
        "d.1.eax": [0: "xsaveopt", 1: "xsavec", 2: "xgetbv1", 3: "xsaves"],
        "80000001.0.ecx": [0: "lahf_lm", 5: "abm", 6: "sse4a", 8: "3dnowprefetch", 11: "xop", 16: "fma4", 21: "tbm"],
        "80000001.0.edx": [11: "syscall", 20: "nx", 26: "pdpe1gb", 27: "rdtscp", 29: "lm"],
        "40000001.0.eax": [0: "kvmclock", 3: "kvmclock2", 4: "async_pf", 5: "steal_time", 6: "pv_eoi"],
    ]
}
