// Which part of the file holds which physical addresses.

import Addresses

/// A physical range and where in the file its bytes are.
public struct CoreSegment: Hashable, Sendable {
    /// The first address.
    public let start: GPA
    /// The size in bytes, not 0.
    public let size: UInt64
    /// Where in the file the first byte is.
    public let offset: UInt64

    /// A segment.
    public init(start: GPA, size: UInt64, offset: UInt64) {
        self.start = start
        self.size = size
        self.offset = offset
    }

    /// The addresses.
    public var range: ClosedRange<GPA> { start...(start &+ (size &- 1)) }
}

extension CoreSegment {
    /// The segments of a core, by ascending address, without overlaps, those that continue each other joined.
    ///
    /// - Parameters:
    ///   - headers: program headers; those without bytes in the file are left out.
    ///   - size: the size of the file in bytes.
    static func segments(_ headers: [ProgramHeader], fileSize size: UInt64) throws(CoreError) -> [CoreSegment] {
        var found: [CoreSegment] = []
        var sawPhysical = false
        for (index, header) in headers.enumerated() where header.type == ProgramHeader.load {
            sawPhysical = sawPhysical || header.physicalAddress != 0 || header.virtualAddress == 0
            // Memory that a dump left out has a size, but no bytes.
            guard header.fileSize != 0 else { continue }
            guard header.fileSize <= header.memorySize else {
                throw .header(
                    "segment \(index) has \(header.fileSize) bytes in the file and \(header.memorySize) in memory")
            }
            let (end, overflow) = header.offset.addingReportingOverflow(header.fileSize)
            guard !overflow else { throw .overflow("segment \(index), file offset \(header.offset),") }
            guard end <= size else { throw .truncated("segment \(index)", end: end, size: size) }
            guard GPA(header.physicalAddress).advanced(by: header.fileSize - 1) != nil else {
                throw .overflow("segment \(index), GPA \(GPA(header.physicalAddress).hex),")
            }
            found.append(
                CoreSegment(start: GPA(header.physicalAddress), size: header.fileSize, offset: header.offset))
        }
        guard sawPhysical || found.count < 2 else {
            throw .format("the core of a process: its segments have no physical addresses")
        }
        return try joined(found)
    }

    /// Physical ranges of segments that have a size but no bytes in the file, joined.
    static func emptyRanges(_ headers: [ProgramHeader]) throws(CoreError) -> [ClosedRange<GPA>] {
        var found: [ClosedRange<GPA>] = []
        for (index, header) in headers.enumerated()
        where header.type == ProgramHeader.load && header.fileSize == 0 && header.memorySize != 0 {
            guard let last = GPA(header.physicalAddress).advanced(by: header.memorySize - 1) else {
                throw .overflow("segment \(index), GPA \(GPA(header.physicalAddress).hex),")
            }
            found.append(GPA(header.physicalAddress)...last)
        }
        var result: [ClosedRange<GPA>] = []
        for range in found.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = result.last, range.lowerBound <= last.upperBound {
                result[result.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                result.append(range)
            }
        }
        return result
    }

    /// Physical ranges of segments that have more memory than bytes in the file: zeros (gABI, p_memsz), by ascending
    /// address.
    static func zeroRanges(_ headers: [ProgramHeader]) throws(CoreError) -> [ClosedRange<GPA>] {
        var found: [ClosedRange<GPA>] = []
        for (index, header) in headers.enumerated()
        where header.type == ProgramHeader.load && header.fileSize != 0 && header.memorySize > header.fileSize {
            guard let first = GPA(header.physicalAddress).advanced(by: header.fileSize),
                let last = GPA(header.physicalAddress).advanced(by: header.memorySize - 1)
            else { throw .overflow("segment \(index), GPA \(GPA(header.physicalAddress).hex),") }
            found.append(first...last)
        }
        return merged(found)
    }

    /// Ranges by ascending address, those that overlap or adjoin as one.
    public static func merged(_ ranges: [ClosedRange<GPA>]) -> [ClosedRange<GPA>] {
        var result: [ClosedRange<GPA>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = result.last, last.upperBound.rawValue == .max || range.lowerBound <= last.upperBound &+ 1 {
                result[result.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                result.append(range)
            }
        }
        return result
    }

    private static func joined(_ segments: [CoreSegment]) throws(CoreError) -> [CoreSegment] {
        let sorted = segments.sorted { ($0.start, $0.size) < ($1.start, $1.size) }
        var result: [CoreSegment] = []
        for segment in sorted {
            guard let last = result.last, segment.start &- last.start <= last.size else {
                result.append(segment)
                continue
            }
            // A dump by virtual addresses has a segment for each mapping of a page; they share its bytes in the file.
            let isSame = segment.offset &- last.offset == segment.start &- last.start
            guard isSame else {
                if segment.start &- last.start == last.size {
                    result.append(segment)
                    continue
                }
                throw .overlap(first: last.range, second: segment.range)
            }
            let size = max(last.size, (segment.start &- last.start) &+ segment.size)
            result[result.count - 1] = CoreSegment(start: last.start, size: size, offset: last.offset)
        }
        return result
    }
}
