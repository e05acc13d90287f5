// Where the fields of the kernel's structures are, from the BTF of the running kernel. No offset is written down here.

import CBPF
import Glibc

/// A field of a structure.
struct KernelField: Equatable, Sendable {
    /// Its offset in bytes.
    let offset: Int
    /// Its offset in bits from there, and its width, if it is a bit field; 0 and 0 otherwise.
    var shift = 0
    var width = 0

    /// The field's bits out of a 32-bit word that begins at `offset`.
    func bits(of word: UInt32) -> UInt32 { word >> UInt32(shift & 31) & ((1 << UInt32(width & 31)) &- 1) }
}

/// The types of the running kernel, those of the module kvm included.
final class KernelTypes {
    private let base: OpaquePointer
    private let module: OpaquePointer?
    /// Structures that were found, by name: to find one all types are gone through.
    private var structures: [String: UInt32] = [:]

    /// Reads the types.
    init(folder: String = "/sys/kernel/btf") throws(SecondStageError) {
        vitrine_bpf_quiet()
        guard let base = btf__parse(folder + "/vmlinux", nil) else {
            throw .missing(
                "this kernel has no type information (\(folder)/vmlinux): it needs CONFIG_DEBUG_INFO_BTF")
        }
        self.base = base
        // Where kvm is a module, its structures are in a file of their own that builds on the kernel's.
        module = access(folder + "/kvm", R_OK) == 0 ? btf__parse_split(folder + "/kvm", base) : nil
    }

    deinit {
        if let module { btf__free(module) }
        btf__free(base)
    }

    private var types: OpaquePointer { module ?? base }

    private func structure(_ name: String) -> UInt32? {
        if let known = structures[name] { return known }
        for kind in [BTF_KIND_STRUCT, BTF_KIND_UNION] {
            let id = btf__find_by_name_kind(types, name, UInt32(kind))
            if id > 0 {
                structures[name] = UInt32(id)
                return UInt32(id)
            }
        }
        return nil
    }

    /// The type behind typedefs and qualifiers.
    private func resolved(_ id: UInt32) -> UInt32 {
        var id = id
        for _ in 0..<32 {
            guard let type = btf__type_by_id(types, id) else { return id }
            switch Int(btf_kind(type)) {
            case BTF_KIND_TYPEDEF, BTF_KIND_CONST, BTF_KIND_VOLATILE, BTF_KIND_RESTRICT, BTF_KIND_TYPE_TAG:
                id = type.pointee.type
            default: return id
            }
        }
        return id
    }

    /// The size of a structure in bytes.
    func size(of name: String) -> Int? {
        guard let id = structure(name) else { return nil }
        let size = btf__resolve_size(types, id)
        return size < 0 ? nil : Int(size)
    }

    /// A field of a structure, by its path: `arch.mmu`; the names of unnamed members are left out.
    func field(_ structureName: String, _ path: String) -> KernelField? {
        guard var id = structure(structureName) else { return nil }
        var bits = 0
        var width = 0
        for name in path.split(separator: ".") {
            guard let found = member(of: id, String(name), depth: 0) else { return nil }
            bits += found.bits
            width = found.width
            id = found.type
        }
        guard width != 0 else { return KernelField(offset: bits / 8) }
        // The 32-bit word that holds the bit field.
        return KernelField(offset: bits / 32 * 4, shift: bits % 32, width: width)
    }

    /// The same, for a field that must be there.
    func offset(_ structureName: String, _ path: String) throws(SecondStageError) -> Int {
        guard let field = field(structureName, path) else {
            throw .unknownLayout(structure: "struct " + structureName, field: path)
        }
        return field.offset
    }

    /// The value of an enumerator.
    func enumerator(_ enumeration: String, _ name: String) -> Int? {
        let id = btf__find_by_name_kind(types, enumeration, UInt32(BTF_KIND_ENUM))
        guard id > 0, let type = btf__type_by_id(types, UInt32(id)), let values = btf_enum(type) else { return nil }
        for index in 0..<Int(btf_vlen(type)) where text(values[index].name_off) == name {
            return Int(values[index].val)
        }
        return nil
    }

    private func member(of id: UInt32, _ name: String, depth: Int) -> (bits: Int, width: Int, type: UInt32)? {
        guard depth < 8, let type = btf__type_by_id(types, resolved(id)), btf_is_composite(type),
            let members = btf_members(type)
        else { return nil }
        for index in 0..<UInt32(btf_vlen(type)) {
            let member = members[Int(index)]
            let bits = Int(btf_member_bit_offset(type, index))
            if let found = text(member.name_off), !found.isEmpty {
                guard found == name else { continue }
                return (bits, Int(btf_member_bitfield_size(type, index)), resolved(member.type))
            }
            if let inner = self.member(of: member.type, name, depth: depth + 1) {
                return (bits + inner.bits, inner.width, inner.type)
            }
        }
        return nil
    }

    private func text(_ offset: UInt32) -> String? { btf__name_by_offset(types, offset).map { String(cString: $0) } }
}
