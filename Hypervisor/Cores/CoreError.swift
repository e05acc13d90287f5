// Why a file cannot be read as a machine's memory.

import Addresses
import SystemCalls

/// Why a core file or a memory image is refused, or read no further.
public enum CoreError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The file cannot be opened or read.
    case call(Errno)
    /// The file is no ELF core, nor anything else that is understood; the text says what it seems to be.
    case format(String)
    /// Something lies past the end of the file: what, where it ends, and how large the file is.
    case truncated(String, end: UInt64, size: UInt64)
    /// An address or a size runs over: which.
    case overflow(String)
    /// A header says what cannot be.
    case header(String)
    /// Two segments give the same physical address different contents.
    case overlap(first: ClosedRange<GPA>, second: ClosedRange<GPA>)
    /// A CPU's note is not what QEMU writes.
    case note(String)

    /// What is wrong, with the place, and what to do where that helps.
    public var description: String {
        func text(_ range: ClosedRange<GPA>) -> String { "\(range.lowerBound.hex)-\(range.upperBound.hex)" }
        switch self {
        case .call(let error): return error.description
        case .format(let text), .header(let text), .note(let text): return text
        case .truncated(let what, let end, let size):
            return "\(what) ends at byte \(end), but the file has \(size): it is truncated, or its headers are wrong"
        case .overflow(let what): return "\(what) runs past the end of the address space"
        case .overlap(let first, let second):
            return "the segments of GPA \(text(first)) and \(text(second)) overlap with different contents"
        }
    }
}
