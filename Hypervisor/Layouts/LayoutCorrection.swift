// Rows of the source documents that are wrong: what they say, what arithmetic says to that, and what is used instead.

#if !hasFeature(Embedded)
    import Addresses

    /// A row of a layout's source document that is not what it should be.
    public struct LayoutCorrection: Sendable, Hashable {
        /// The row, in the document's words.
        public let row: String
        /// The first address it names, if it names one.
        public let first: UInt64?
        /// The last address it names.
        public let last: UInt64?
        /// The size it names, in bytes.
        public let size: UInt64?
        /// What its end has to be a multiple of.
        public let alignment: UInt64?
        /// The first address of the row after it.
        public let next: UInt64?
        /// What is wrong where numbers of the row do not show it.
        public let note: String?
        /// What is used instead.
        public let corrected: String
        /// Why.
        public let reason: String

        /// A correction.
        public init(
            _ row: String, first: UInt64? = nil, last: UInt64? = nil, size: UInt64? = nil, alignment: UInt64? = nil,
            next: UInt64? = nil, note: String? = nil, corrected: String, reason: String
        ) {
            self.row = row
            self.first = first
            self.last = last
            self.size = size
            self.alignment = alignment
            self.next = next
            self.note = note
            self.corrected = corrected
            self.reason = reason
        }

        /// What arithmetic finds wrong in the row's numbers, then what else is.
        public var faults: [String] {
            var faults: [String] = []
            var end = last.map { $0 &+ 1 }
            if let first, let last {
                if last < first { faults.append("ends before it begins") }
                let own = last &- first &+ 1
                if let size, last >= first, own != size {
                    faults.append("has 0x\(String(own, radix: 16)) bytes, not 0x\(String(size, radix: 16))")
                }
                if first >= 1 << 47, last < 0xffff_8000_0000_0000 {
                    faults.append("no address of it is canonical")
                }
            } else if let first, let size {
                end = first &+ size
            }
            if let end, let alignment, end % alignment != 0 {
                faults.append("\(GVA(end).hex) is no multiple of \(GVA(alignment).hex)")
            }
            if let end, let next, end > next {
                faults.append("reaches 0x\(String(end &- next, radix: 16)) bytes into what begins at \(GVA(next).hex)")
            }
            return faults + (note.map { [$0] } ?? [])
        }
    }

    extension Layout {
        /// The corrections of a layout's source document.
        public var corrections: [LayoutCorrection] {
            switch name {
            case "osv":
                return [
                    LayoutCorrection(
                        "ELF namespaces, end", last: 0x1040_01ff_ffff, alignment: OSv.programSize,
                        corrected: "0x104200000000",
                        reason: "slot i begins at program_base + (i + 1) * 8 GiB; the last one, 31, ends at 33 * 8 GiB")
                ]
            case "linux":
                return [
                    LayoutCorrection(
                        "Unused", first: 0x8000_0000_0000, last: 0xffff_7fff_ffff_ffff,
                        corrected: "no region", reason: "bits 63-47 of an address are equal: the hole cannot be used")
                ]
            case "resea":
                return [
                    LayoutCorrection(
                        "AP GDTR", note: "the range is printed with its ends exchanged", corrected: "0x6000-0x6fff",
                        reason: "the page after the AP's trampoline at 0x5000"),
                    LayoutCorrection(
                        "BSP boot code, second row", note: "a duplicate of the row before it, of negative size",
                        corrected: "0x100000-0x100fff once", reason: "the linker script has it once"),
                    LayoutCorrection(
                        "kernel image, data and bootfs", first: 0x10_1000, last: 0x4ff_ffff, size: 0x3ef_f000,
                        corrected: "0x101000-0x3ffffff", reason: "the linker script ends there, and so does the size"),
                    LayoutCorrection(
                        "vm server", first: 0x500_0000, note: "an address of an earlier version",
                        corrected: "0x10000000", reason: "where the vm server's straight mapping begins in the source"),
                    LayoutCorrection(
                        ".data", first: 0x300_0000, last: 0x3ff_ffff, size: 48 << 20, corrected: "16 MiB",
                        reason: "the addresses agree with the linker script, the size does not"),
                ]
            case "courseos":
                return [
                    LayoutCorrection(
                        "every address", note: "printed with seven hexadecimal digits",
                        corrected: "0x80000000, 0x80004000, 0x80008000, 0xc0000000, 0x100000000",
                        reason: "one digit is missing in each: kernel.ld and the page-table code have eight")
                ]
            case "panda":
                return [
                    LayoutCorrection(
                        "heap, maximum", first: Panda.heapBase, size: 1 << 40, next: Panda.buffersBase,
                        corrected: "brk is at most 0x10000000000", reason: "the buffers begin there")
                ]
            default: return []
            }
        }
    }
#endif
