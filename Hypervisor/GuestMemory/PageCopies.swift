// Copies of guest pages, for memory that cannot be mapped: files whose pages lie askew, other processes, a monitor.

import Synchronization

/// Copies of single pages, each made when it is first asked for and kept: a pointer to one stays valid as long as this
/// object. Safe on any thread.
///
/// Meant for page tables, which are few and read again and again. Bulk reads should go around it.
public final class PageCopies: Sendable {
    /// How many pages are kept at most (4 GiB); beyond that there are no new ones.
    public static let limit = 1 << 20

    private struct Copy {
        let page: UnsafeMutableRawPointer
        var generation: UInt64
    }

    private struct State: @unchecked Sendable {
        var copies: [UInt64: Copy] = [:]
        var chunks: [UnsafeMutableRawPointer] = []
        var usedInChunk = PageCopies.chunkPages
        var generation: UInt64 = 0
    }

    private static let chunkPages = 64
    private let state = Mutex(State())

    /// No copies yet.
    public init() {}

    deinit {
        state.withLock { state in
            for chunk in state.chunks { chunk.deallocate() }
        }
    }

    /// The copy of a page.
    ///
    /// - Parameters:
    ///   - number: the page's address divided by 4096.
    ///   - fill: makes the copy (4096 bytes, aligned to as many); false if there is no such page.
    public func page(_ number: UInt64, fill: (UnsafeMutableRawBufferPointer) -> Bool) -> UnsafeRawPointer? {
        state.withLock { state in
            if let known = state.copies[number] {
                if known.generation == state.generation { return UnsafeRawPointer(known.page) }
                guard fill(UnsafeMutableRawBufferPointer(start: known.page, count: 4096)) else { return nil }
                state.copies[number]?.generation = state.generation
                return UnsafeRawPointer(known.page)
            }
            guard state.copies.count < PageCopies.limit else { return nil }
            if state.usedInChunk == PageCopies.chunkPages {
                state.chunks.append(.allocate(byteCount: 4096 * PageCopies.chunkPages, alignment: 4096))
                state.usedInChunk = 0
            }
            guard let chunk = state.chunks.last else { return nil }
            let page = chunk + 4096 * state.usedInChunk
            guard fill(UnsafeMutableRawBufferPointer(start: page, count: 4096)) else { return nil }
            state.usedInChunk += 1
            state.copies[number] = Copy(page: page, generation: state.generation)
            return UnsafeRawPointer(page)
        }
    }

    /// Forgets what the copies hold: each is made again when it is next asked for, at the same place.
    public func refresh() {
        state.withLock { $0.generation &+= 1 }
    }
}
