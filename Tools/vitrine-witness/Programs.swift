// The BPF programs and maps that are loaded in this kernel, whoever loaded them. Needs CAP_SYS_ADMIN.

import CBPF
import Glibc

/// Prints `program ID NAME` and `map ID NAME` for each.
func listPrograms() -> Int32 {
    var id: UInt32 = 0
    while bpf_prog_get_next_id(id, &id) == 0 {
        let file = bpf_prog_get_fd_by_id(id)
        guard file >= 0 else { continue }
        defer { close(file) }
        var info = bpf_prog_info()
        var size = UInt32(MemoryLayout<bpf_prog_info>.size)
        guard bpf_obj_get_info_by_fd(file, &info, &size) == 0 else { continue }
        say("program \(id) \(text(info.name))")
    }
    guard errno == ENOENT else { leave(4, "the list of BPF programs may not be read (CAP_SYS_ADMIN)") }
    id = 0
    while bpf_map_get_next_id(id, &id) == 0 {
        let file = bpf_map_get_fd_by_id(id)
        guard file >= 0 else { continue }
        defer { close(file) }
        var info = bpf_map_info()
        var size = UInt32(MemoryLayout<bpf_map_info>.size)
        guard bpf_obj_get_info_by_fd(file, &info, &size) == 0 else { continue }
        say("map \(id) \(text(info.name))")
    }
    return 0
}

private func text<Name>(_ name: Name) -> String {
    withUnsafeBytes(of: name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}
