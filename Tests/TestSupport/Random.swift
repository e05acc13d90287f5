/// SplitMix64: random numbers that are the same on every run, so that what a test finds can be found again.
public struct Random: RandomNumberGenerator {
    private var state: UInt64

    /// Numbers that `seed` alone decides.
    public init(seed: UInt64) { state = seed }

    /// The next 64 bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}
