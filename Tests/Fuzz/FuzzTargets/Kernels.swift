import SecondStage

/// What the kernel prints of processes and of itself: areas in which what they hold is found, symbols whatever the pieces.
func fuzzMaps(_ bytes: UnsafeRawBufferPointer) {
    let lines = Array(bytes).split(separator: 10)
    let areas = lines.compactMap { MemoryArea(line: $0) }.sorted { $0.start < $1.start }
    for area in areas.prefix(50) {
        guard let found = MemoryArea.find(area.start, in: areas) else { continue }
        precondition(found.start <= area.start && area.start < found.end, "an area without what was looked for")
    }
    let names: Set<String> = ["page_offset_base", "vm_list"]
    var whole = SymbolText(names)
    whole.read(Array(bytes)[...])
    var pieces = SymbolText(names)
    for start in stride(from: 0, to: bytes.count, by: 7) {
        pieces.read(Array(bytes[start..<min(bytes.count, start + 7)])[...])
    }
    precondition(whole.found == pieces.found, "other symbols in pieces")
    precondition(whole.found.values.allSatisfy { $0 != 0 }, "a hidden address")
}
