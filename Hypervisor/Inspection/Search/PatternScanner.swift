// Finds a pattern in bytes, 64 at a time.
//
// Two bytes of the pattern, the rarest by guess, are compared at 64 places at once; only where both fit is the whole pattern
// compared. Guest memory is mostly zeros and small numbers, so that this is as fast as memory can be read.

/// Looks for one pattern in many pieces of memory, which may change meanwhile.
struct PatternScanner: Sendable {
    let pattern: SearchPattern
    /// The two places in the pattern that are compared first.
    private let first: Int
    private let second: Int
    /// Their masks and values in every byte of a word.
    private let firstMask: UInt64
    private let firstValue: UInt64
    private let secondMask: UInt64
    private let secondValue: UInt64

    init(_ pattern: SearchPattern) {
        self.pattern = pattern
        // The less likely a byte, the better; bits that may be anything make it likely.
        let order = pattern.values.indices.sorted {
            PatternScanner.likelihood(pattern, $0) < PatternScanner.likelihood(pattern, $1)
        }
        let one = order.first ?? 0
        let two = order.dropFirst().first ?? one
        (first, second) = (one, two)
        let every: UInt64 = 0x0101_0101_0101_0101
        firstMask = UInt64(pattern.masks[one]) &* every
        firstValue = UInt64(pattern.values[one]) &* every
        secondMask = UInt64(pattern.masks[two]) &* every
        secondValue = UInt64(pattern.values[two]) &* every
    }

    /// A guess how often a byte occurs in memory: zeros, all ones, small numbers and common letters do.
    private static func likelihood(_ pattern: SearchPattern, _ place: Int) -> Int {
        let free = 8 - pattern.masks[place].nonzeroBitCount
        let byte = pattern.values[place]
        let common =
            switch byte {
            case 0: 100
            case 0xff: 60
            case 1, 0x20, UInt8(ascii: "e"), UInt8(ascii: "t"), UInt8(ascii: "a"), 0x48, 0x80: 30
            case 2...0x1f, UInt8(ascii: "b")...UInt8(ascii: "z"): 15
            default: 5
            }
        return common << free
    }

    /// Tells of every place where the pattern begins, in ascending order.
    func scan(_ bytes: UnsafeRawBufferPointer, _ found: (Int) -> Void) {
        guard let base = bytes.baseAddress, bytes.count >= pattern.values.count else { return }
        let last = bytes.count - pattern.values.count
        var place = 0
        typealias Vector = SIMD2<UInt64>
        let ones = Vector(repeating: 0x0101_0101_0101_0101)
        let highs = Vector(repeating: 0x8080_8080_8080_8080)
        let (mask1, value1) = (Vector(repeating: firstMask), Vector(repeating: firstValue))
        let (mask2, value2) = (Vector(repeating: secondMask), Vector(repeating: secondValue))
        // Every load of a block lies before the last byte of a pattern that begins in the block.
        while place &+ 63 <= last {
            let one = base + (place &+ first)
            let two = base + (place &+ second)
            var any = Vector(repeating: 0)
            for part in 0..<4 {
                let a = one.loadUnaligned(fromByteOffset: part &* 16, as: Vector.self) & mask1 ^ value1
                let b = two.loadUnaligned(fromByteOffset: part &* 16, as: Vector.self) & mask2 ^ value2
                let differences = a | b
                // A byte that is 0 borrows from its highest bit (Mycroft, 1987).
                any |= (differences &- ones) & ~differences & highs
            }
            if any[0] | any[1] != 0 { compare(base, from: place, to: place &+ 64, found) }
            place &+= 64
        }
        compare(base, from: place, to: last &+ 1, found)
    }

    /// Compares the whole pattern at each of some places.
    @inline(never) private func compare(
        _ base: UnsafeRawPointer, from start: Int, to end: Int, _ found: (Int) -> Void
    ) {
        let count = pattern.values.count
        pattern.values.withUnsafeBufferPointer { values in
            pattern.masks.withUnsafeBufferPointer { masks in
                let (mask, value) = (masks[first], values[first])
                for place in start..<max(start, end) {
                    let here = base + place
                    guard here.load(fromByteOffset: first, as: UInt8.self) & mask == value else { continue }
                    var same = 0
                    while same < count && here.load(fromByteOffset: same, as: UInt8.self) & masks[same] == values[same]
                    {
                        same &+= 1
                    }
                    if same == count { found(place) }
                }
            }
        }
    }
}
