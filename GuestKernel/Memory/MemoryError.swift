// Why memory is refused, in words.

/// What went wrong with memory.
enum MemoryError: Error {
    case outOfMemory
    case arenaFull
    case tooFragmented
    case badSize
    case badAddress
    case badArea
    case overlap
    case notMapped
    case notAllocated
    case tooManyVMAs
    case noMemoryMap
    case wrongImage
    case tooManyThreads
    case tooManySpaces
    case heapFull
    case devicesFull

    /// The error in words, without numbers.
    var text: StaticString {
        switch self {
        case .outOfMemory: return "out of memory: no physical pages left"
        case .arenaFull: return "page-table arena full"
        case .tooFragmented: return "no physically contiguous range of that size is free"
        case .badSize: return "size out of range"
        case .badAddress: return "address not page-aligned or out of range"
        case .badArea: return "that size does not fit the area (mempool up to 1024, page up to 4096)"
        case .overlap: return "range overlaps an existing mapping"
        case .notMapped: return "range is not mapped as a whole"
        case .notAllocated: return "not the address of an allocated block"
        case .tooManyVMAs: return "VMA list full"
        case .noMemoryMap: return "no RAM in the start info's memory map"
        case .wrongImage: return "the image is linked for another layout, or at another address, than its numbers say"
        case .tooManyThreads: return "thread table full"
        case .tooManySpaces: return "process table full"
        case .heapFull: return "heap full: it has met the device registers, which grow down towards it"
        case .devicesFull: return "no room for device registers: they have met the heap, which grows up towards them"
        }
    }
}
