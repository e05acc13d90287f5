// The target description that GDB asks for (GDB manual, appendix G): which registers there are, in the order of the packet `g`.

/// The description of a processor with these registers.
func targetDescription(_ registers: [GDBRegister]) -> String {
    var features: [(name: String, registers: [GDBRegister])] = []
    for register in registers {
        let feature = feature(of: register.name)
        if features.last?.name == feature {
            features[features.count - 1].registers.append(register)
        } else {
            features.append((feature, [register]))
        }
    }
    var text = """
        <?xml version="1.0"?>
        <!DOCTYPE target SYSTEM "gdb-target.dtd">
        <target version="1.0">
          <architecture>i386:x86-64</architecture>

        """
    for feature in features {
        text += "  <feature name=\"\(feature.name)\">\n"
        text += types(of: feature.name)
        for register in feature.registers {
            let type = type(of: register)
            let group = group(of: register.name).map { " group=\"\($0)\"" } ?? ""
            text += "    <reg name=\"\(register.name)\" bitsize=\"\(register.size * 8)\" type=\"\(type)\"\(group)/>\n"
        }
        text += "  </feature>\n"
    }
    return text + "</target>\n"
}

/// The features that GDB knows (GDB manual, "i386 Features"), and one for the rest.
private func feature(of name: String) -> String {
    if name.hasPrefix("xmm") || name == "mxcsr" { return "org.gnu.gdb.i386.sse" }
    if name == "fs_base" || name == "gs_base" { return "org.gnu.gdb.i386.segments" }
    return systemRegisters.contains(name) ? "vitrine.x86-64.system" : "org.gnu.gdb.i386.core"
}

private let systemRegisters: Set<String> = [
    "cr0", "cr2", "cr3", "cr4", "cr8", "efer", "apic_base", "k_gs_base", "star", "lstar", "sfmask", "pat", "gdt_base",
    "gdt_limit",
    "idt_base", "idt_limit", "tr", "tr_base", "ldtr", "ldtr_base",
]

private func type(of register: GDBRegister) -> String {
    switch register.name {
    case "rip": return "code_ptr"
    case "rsp", "rbp": return "data_ptr"
    case "eflags": return "eflags_type"
    case "mxcsr": return "mxcsr_type"
    case "cr0": return "cr0_type"
    case "cr4": return "cr4_type"
    case "efer": return "efer_type"
    case "lstar": return "code_ptr"
    default:
        if register.name.hasPrefix("xmm") { return "vec128" }
        if register.size == 10 { return "i387_ext" }
        return register.size == 4 ? "int32" : "int64"
    }
}

private func group(of name: String) -> String? {
    if name.hasPrefix("xmm") || name == "mxcsr" { return "vector" }
    if systemRegisters.contains(name) { return "system" }
    return name.hasPrefix("st") || ["fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"].contains(name)
        ? "float" : nil
}

private func flags(_ id: String, size: Int, _ fields: [(String, Int)]) -> String {
    "    <flags id=\"\(id)\" size=\"\(size)\">\n"
        + fields.map { "      <field name=\"\($0.0)\" start=\"\($0.1)\" end=\"\($0.1)\"/>\n" }.joined()
        + "    </flags>\n"
}

private func types(of feature: String) -> String {
    switch feature {
    case "org.gnu.gdb.i386.core":
        // Intel SDM volume 1, figure 3-8.
        return flags(
            "eflags_type", size: 4,
            [
                ("CF", 0), ("", 1), ("PF", 2), ("AF", 4), ("ZF", 6), ("SF", 7), ("TF", 8), ("IF", 9), ("DF", 10),
                ("OF", 11),
                ("NT", 14), ("RF", 16), ("VM", 17), ("AC", 18), ("VIF", 19), ("VIP", 20), ("ID", 21),
            ])
    case "org.gnu.gdb.i386.sse":
        // Intel SDM volume 1, figure 10-3.
        return """
                <vector id="v4f" type="ieee_single" count="4"/>
                <vector id="v2d" type="ieee_double" count="2"/>
                <vector id="v16i8" type="int8" count="16"/>
                <vector id="v8i16" type="int16" count="8"/>
                <vector id="v4i32" type="int32" count="4"/>
                <vector id="v2i64" type="int64" count="2"/>
                <union id="vec128">
                  <field name="v4_float" type="v4f"/>
                  <field name="v2_double" type="v2d"/>
                  <field name="v16_int8" type="v16i8"/>
                  <field name="v8_int16" type="v8i16"/>
                  <field name="v4_int32" type="v4i32"/>
                  <field name="v2_int64" type="v2i64"/>
                  <field name="uint128" type="uint128"/>
                </union>

            """
                + flags(
                    "mxcsr_type", size: 4,
                    [
                        ("IE", 0), ("DE", 1), ("ZE", 2), ("OE", 3), ("UE", 4), ("PE", 5), ("DAZ", 6), ("IM", 7),
                        ("DM", 8), ("ZM", 9),
                        ("OM", 10), ("UM", 11), ("PM", 12), ("FZ", 15),
                    ])
    case "vitrine.x86-64.system":
        // Intel SDM volume 3, 2.5 and 2.2.1.
        return flags(
            "cr0_type", size: 8,
            [
                ("PE", 0), ("MP", 1), ("EM", 2), ("TS", 3), ("ET", 4), ("NE", 5), ("WP", 16), ("AM", 18), ("NW", 29),
                ("CD", 30),
                ("PG", 31),
            ])
            + flags(
                "cr4_type", size: 8,
                [
                    ("VME", 0), ("PVI", 1), ("TSD", 2), ("DE", 3), ("PSE", 4), ("PAE", 5), ("MCE", 6), ("PGE", 7),
                    ("PCE", 8),
                    ("OSFXSR", 9), ("OSXMMEXCPT", 10), ("UMIP", 11), ("LA57", 12), ("VMXE", 13), ("SMXE", 14),
                    ("FSGSBASE", 16),
                    ("PCIDE", 17), ("OSXSAVE", 18), ("SMEP", 20), ("SMAP", 21), ("PKE", 22), ("CET", 23), ("PKS", 24),
                ])
            + flags(
                "efer_type", size: 8, [("SCE", 0), ("LME", 8), ("LMA", 10), ("NXE", 11), ("SVME", 12), ("FFXSR", 14)])
    default: return ""
    }
}
