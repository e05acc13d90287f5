// A bounded queue of bytes.

/// A ring of a fixed number of bytes. Memory that was never used is not resident.
struct ByteQueue: ~Copyable, @unchecked Sendable {
    private let storage: UnsafeMutablePointer<UInt8>
    private var head = 0
    /// How many bytes it can hold, a power of two.
    let capacity: Int
    /// How many bytes it holds.
    private(set) var count = 0

    /// An empty queue; `capacity` is a power of two.
    init(capacity: Int) {
        self.capacity = capacity
        storage = .allocate(capacity: capacity)
    }

    deinit { storage.deallocate() }

    var isEmpty: Bool { count == 0 }
    var isFull: Bool { count == capacity }

    /// Adds a byte; false if there is no room.
    mutating func push(_ byte: UInt8) -> Bool {
        guard count < capacity else { return false }
        storage[(head &+ count) & (capacity &- 1)] = byte
        count &+= 1
        return true
    }

    /// Takes the oldest byte.
    mutating func pop() -> UInt8? {
        guard count > 0 else { return nil }
        let byte = storage[head]
        head = (head &+ 1) & (capacity &- 1)
        count &-= 1
        return byte
    }

    /// Takes the oldest bytes, at most `limit`.
    mutating func take(_ limit: Int) -> [UInt8] {
        let size = min(max(0, limit), count)
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, initialized in
            for index in 0..<size { buffer[index] = storage[(head &+ index) & (capacity &- 1)] }
            initialized = size
        }
        head = (head &+ size) & (capacity &- 1)
        count &-= size
        return bytes
    }

    /// What it holds, oldest first.
    var contents: [UInt8] { (0..<count).map { storage[(head &+ $0) & (capacity &- 1)] } }

    mutating func removeAll() {
        head = 0
        count = 0
    }
}
