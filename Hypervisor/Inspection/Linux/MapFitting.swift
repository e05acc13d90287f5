// A layout with many regions in the picture: there is room for about nine boxes.

extension MapRegion {
    /// How many boxes 100 columns have room for.
    private static let room = 9

    /// The regions if there is room for them; else those where something is mapped, the parts of a kernel's image
    /// (`kernel text`, `kernel data`) in one box.
    static func fitting(_ regions: [MapRegion]) -> [MapRegion] {
        guard regions.count > room else { return regions }
        var fitting: [MapRegion] = []
        for region in regions where !region.ranges.isEmpty {
            let isPart = region.name.hasPrefix("kernel ")
            if isPart, let last = fitting.last, last.name == "kernel" {
                fitting[fitting.count - 1].ranges += region.ranges
                fitting[fitting.count - 1].last = region.last
                continue
            }
            var box = region
            if isPart { box.name = "kernel" }
            fitting.append(box)
        }
        return fitting
    }
}
