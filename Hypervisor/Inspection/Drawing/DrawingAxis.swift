// From addresses to places in a row of the picture.
//
// An address space of 256 TiB with a few KiB here and a GiB there cannot be drawn to one scale. A row is cut into clusters
// where nothing is for long; the wider a cluster is drawn the more is mapped in it, by the logarithm. Within a cluster
// everything is to scale, but for gaps, which are never longer than its ranges are on average. Page/axis.js does the same.

import Addresses

/// A part of a row with something in it.
struct Cluster {
    /// The first page's number.
    let first: UInt64
    /// The number of the page after the last.
    var end: UInt64
    /// Pages that are there.
    var pages: UInt64
    /// Which stretches it is made of, and what they have in common.
    var members: Range<Int>
    let group: Int

    /// Cuts stretches, which ascend, where the longest gaps are: into 40 clusters at most, or one a group.
    static func clusters(_ stretches: [Drawing.Stretch], limit: Int = 40) -> [Cluster] {
        var gap: UInt64 = 16
        while true {
            var found: [Cluster] = []
            for (index, stretch) in stretches.enumerated() {
                let end = stretch.first &+ stretch.pages
                if let last = found.last, last.group == stretch.group, stretch.first < last.end &+ gap {
                    found[found.count - 1].end = max(last.end, end)
                    found[found.count - 1].pages &+= stretch.pages
                    found[found.count - 1].members = last.members.lowerBound..<index + 1
                } else {
                    found.append(
                        Cluster(
                            first: stretch.first, end: end, pages: stretch.pages, members: index..<index + 1,
                            group: stretch.group))
                }
            }
            if found.count <= limit || gap > 1 << 52 { return found }
            gap <<= 1
        }
    }

    /// How wide it is drawn, beside others.
    var weight: Double {
        // log2(1 + pages), whole steps and linear between them.
        let number = max(1, pages &+ 1)
        let exponent = 63 - number.leadingZeroBitCount
        let rest = Double(number) / Double(UInt64(1) << UInt64(exponent)) - 1
        return 1 + 0.25 * (Double(exponent) + rest)
    }
}

/// A row of the picture: corners between which it is linear.
struct DrawingAxis {
    /// The clusters, with their places from 0 to 1.
    private(set) var clusters: [(cluster: Cluster, from: Double, to: Double)] = []
    private var pages: [UInt64] = []
    private var places: [Double] = []

    init(_ stretches: [Drawing.Stretch]) {
        let found = Cluster.clusters(stretches)
        var at = 0.0
        for (number, cluster) in found.enumerated() {
            let start = at
            add(cluster, stretches, at: start)
            at += cluster.weight
            clusters.append((cluster, start, at))
            if number + 1 < found.count, found[number + 1].first > cluster.end { at += 0.3 }
        }
        let total = max(at, 1)
        places = places.map { $0 / total }
        clusters = clusters.map { ($0.cluster, $0.from / total, $0.to / total) }
    }

    private mutating func add(_ cluster: Cluster, _ stretches: [Drawing.Stretch], at start: Double) {
        let average = Double(cluster.pages) / Double(cluster.members.count)
        var corners: [(UInt64, Double)] = [(cluster.first, 0)]
        var width = 0.0
        var at = cluster.first
        for stretch in stretches[cluster.members] {
            if stretch.first > at {
                width += min(Double(stretch.first - at), average)
                corners.append((stretch.first, width))
            }
            let end = stretch.first &+ stretch.pages
            guard end > at else { continue }
            width += Double(end - max(at, stretch.first))
            corners.append((end, width))
            at = end
        }
        for (page, place) in corners {
            pages.append(page)
            places.append(start + (width > 0 ? place / width : 0) * cluster.weight)
        }
    }

    /// The place of a page, 0...1.
    func place(of page: UInt64) -> Double {
        var low = 0
        var high = pages.count
        while low < high {
            let middle = (low + high) / 2
            if pages[middle] <= page { low = middle + 1 } else { high = middle }
        }
        guard low > 0 else { return 0 }
        guard low < pages.count else { return places.last ?? 1 }
        let span = pages[low] - pages[low - 1]
        guard span > 0 else { return places[low] }
        return places[low - 1] + Double(page - pages[low - 1]) / Double(span) * (places[low] - places[low - 1])
    }

    /// The places of a stretch: its first page and the end of its last.
    func places(first: UInt64, pages: UInt64) -> (Double, Double) {
        let start = place(of: first)
        // The end belongs to this stretch, not to a cluster that begins there.
        let last = first &+ (pages &- 1)
        let end = pages > 0 ? place(of: last) + pageWidth(at: last) : start
        return (start, max(start, end))
    }

    private func pageWidth(at page: UInt64) -> Double {
        var low = 0
        var high = pages.count
        while low < high {
            let middle = (low + high) / 2
            if pages[middle] <= page { low = middle + 1 } else { high = middle }
        }
        guard low > 0, low < pages.count, pages[low] > pages[low - 1] else { return 0 }
        return (places[low] - places[low - 1]) / Double(pages[low] - pages[low - 1])
    }
}
