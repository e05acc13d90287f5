// Puts a checked program into memory.
//
//     file (a boot module)                     memory, from the program's base
//     read-only and code, page-aligned    ->   the module's own pages, in place: nothing is copied
//     writable                            ->   pages of its own: what the file has is copied, the rest comes on touch
//
// Each segment is a VMA with the segment's protection, so that demand paging, `protect` and `vmas` treat it as any other.

/// Loads programs.
enum ProgramLoader {
    /// Maps, copies, relocates and protects; nothing stays mapped when it fails.
    static func load(_ image: ProgramImage, module: BootModule, at base: UInt64, program: Int32) throws(ProgramError) {
        var mapped = 0
        do throws(ProgramError) {
            while mapped < image.segmentCount {
                try mapSegment(image[segment: mapped], module, base, program)
                mapped &+= 1
            }
            try image.forEachRelocation { (address, value) throws(ProgramError) in
                write_word(base &+ address, base &+ value)
            }
            try protectRelocated(image, base)
        } catch {
            unmap(image, segments: mapped, at: base)
            throw error
        }
    }

    /// Unmaps the first segments of a program.
    static func unmap(_ image: ProgramImage, segments: Int, at base: UInt64) {
        for index in 0..<segments {
            let segment = image[segment: index]
            let start = ProgramImage.firstPage(segment)
            try? AddressSpace.current.pointee.unmap(base &+ start, size: ProgramImage.pastLastPage(segment) &- start)
        }
    }

    private static func mapSegment(
        _ segment: ProgramImage.Segment, _ module: BootModule, _ base: UInt64, _ program: Int32
    ) throws(ProgramError) {
        let start = base &+ ProgramImage.firstPage(segment)
        let size = ProgramImage.pastLastPage(segment) &- ProgramImage.firstPage(segment)
        var protection = Protection.read
        if segment.isWritable { protection.insert(.write) }
        if segment.isExecutable { protection.insert(.execute) }
        let source = module.address &+ segment.fileOffset
        // Zeros behind the file's bytes belong to the program, what the module has there does not.
        let inPlace = !segment.isWritable && segment.fileSize == segment.memorySize && module.address & 4095 == 0
        do throws(MemoryError) {
            _ = try AddressSpace.current.pointee.map(
                at: start, size: size, protection: inPlace ? protection : [.read, .write], kind: .program,
                program: program)
        } catch {
            throw error == .overlap ? .addressTaken(start) : .memory(error)
        }
        do throws(MemoryError) {
            if inPlace {
                try AddressSpace.current.pointee.place(source & ~4095, at: start, pages: size &>> 12)
            } else {
                if !copy(from: PageTable.linear(source), to: base &+ segment.address, segment.fileSize) {
                    throw MemoryError.outOfMemory
                }
                if !segment.isWritable || segment.isExecutable {
                    try AddressSpace.current.pointee.protect(start, size: size, protection: protection)
                }
            }
        } catch {
            try? AddressSpace.current.pointee.unmap(start, size: size)
            throw .memory(error)
        }
    }

    /// Copies bytes, by words where source and target lie alike in their pages; false if no page could be put behind the target.
    private static func copy(from source: UInt64, to target: UInt64, _ count: UInt64) -> Bool {
        guard count > 0 else { return true }
        guard (source ^ target) & 4095 == 0 else { return probe_copy(target, source, count) == 0 }
        // Whole words around the bytes: the source's pages are the module's, the target's are the program's own.
        let end = (target &+ count &+ 7) & ~7
        var from = source & ~7
        var to = target & ~7
        while to < end {
            let next = (to & ~4095) &+ 4096
            let part = (next < end ? next : end) &- to
            // The first touch puts a page there, or does not.
            guard probe_write(to, 0) == 0 else { return false }
            copy_words(to, from, part &>> 3)
            from &+= part
            to &+= part
        }
        return clear(from: target &+ count, to: end) && clear(from: target & ~7, to: target)
    }

    /// Clears the bytes of a word that are not the file's.
    private static func clear(from start: UInt64, to end: UInt64) -> Bool {
        guard start < end else { return true }
        var zero: UInt64 = 0
        return withUnsafeBytes(of: &zero) {
            probe_copy(start, UInt64(UInt(bitPattern: $0.baseAddress)), end &- start) == 0
        }
    }

    /// Takes the right to write from what only relocation had to write (PT_GNU_RELRO).
    private static func protectRelocated(_ image: ProgramImage, _ base: UInt64) throws(ProgramError) {
        let range = image.relocatedReadOnly
        for index in 0..<image.segmentCount where image[segment: index].isWritable {
            let segment = image[segment: index]
            guard range.lowerBound >= segment.address, range.lowerBound < segment.end else { continue }
            let start = max(range.lowerBound & ~4095, ProgramImage.firstPage(segment))
            let end = min(range.upperBound & ~4095, ProgramImage.pastLastPage(segment))
            guard start < end else { return }
            do throws(MemoryError) {
                try AddressSpace.current.pointee.protect(base &+ start, size: end &- start, protection: .read)
            } catch {
                throw .memory(error)
            }
        }
    }
}
