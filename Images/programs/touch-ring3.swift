// Touches as many pages as told, again and again (`--append "ring=3 args=4096"`): in ring 3 this runs natively, SSE
// included, and fills whatever shadows the guest's page tables. Each pass writes all pages, adds them up in floating
// point; of one region in four it takes the right to write from some pages and gives it back, and maps it anew. The
// arguments are the number of pages (1,024) and of passes (0: for ever). Exit status 1: a page was not what was
// written; 2: memory was short.

private let pageSize: UInt64 = 4096
/// A region is smaller than 2 MiB, so that it is made of 4 KiB pages.
private let regionPages: UInt64 = 256

/// The second number of the argument text, after one blank or comma.
private func second(_ argument: UnsafePointer<CChar>) -> UInt64? {
    var next = argument
    while next.pointee >= 0x30, next.pointee <= 0x39 { next += 1 }
    return next.pointee == 0 ? nil : number(next + 1)
}

/// Writes a number to each page of a region and adds up what was written, in two floating-point lanes.
private func touch(_ region: UnsafeMutableRawPointer, _ pages: UInt64, seed: UInt64) -> SIMD2<Double> {
    var sum = SIMD2<Double>(0, 0)
    for page in 0..<pages {
        let address = region + Int(page &* pageSize)
        address.storeBytes(of: Double(seed &+ page), as: Double.self)
        sum += SIMD2(address.load(as: Double.self), 1)
    }
    return sum
}

func program(_ system: System, _ argument: UnsafePointer<CChar>) -> Int64 {
    let regions = ((number(argument) ?? 1024) &+ regionPages &- 1) / regionPages
    let passes = second(argument) ?? 0
    let regionSize = regionPages &* pageSize
    // The list of regions is itself mapped memory.
    guard regions > 0, let list = system.map(regions &* 8) else { return 2 }
    let first = list.bindMemory(to: UInt64.self, capacity: Int(regions))
    for index in 0..<Int(regions) {
        guard let region = system.map(regionSize) else { return 2 }
        first[index] = UInt64(UInt(bitPattern: region))
    }
    var pass: UInt64 = 0
    while passes == 0 || pass < passes {
        pass &+= 1
        var sum = SIMD2<Double>(0, 0)
        for index in 0..<Int(regions) {
            guard let region = UnsafeMutableRawPointer(bitPattern: UInt(first[index])) else { return 1 }
            sum += touch(region, regionPages, seed: pass)
        }
        let pages = Double(regions &* regionPages)
        let expected = Double(regions) * (Double(regionPages) * Double(pass) + 32640)  // 0 + 1 + ... + 255
        guard sum == SIMD2(expected, pages) else { return 1 }
        for index in 0..<Int(regions) where (UInt64(index) &+ pass) & 3 == 0 {
            guard let region = UnsafeMutableRawPointer(bitPattern: UInt(first[index])) else { return 1 }
            for page in stride(from: 0, to: Int(regionPages), by: 64) {
                let address = region + page * Int(pageSize)
                guard system.protect(address, pageSize, VITRINE_READ.rawValue),
                    address.load(as: Double.self) == Double(pass) + Double(page),
                    system.protect(address, pageSize, VITRINE_READ.rawValue | VITRINE_WRITE.rawValue)
                else { return 1 }
            }
            guard system.unmap(region, regionSize), system.map(at: region, regionSize) == region else { return 2 }
        }
        if pass & (pass &- 1) == 0 {
            Line.print(system) { line in
                line.add("touch-ring3: pass ")
                line.add(pass)
                line.add(", ")
                line.add(UInt64(pages))
                line.add(" pages")
            }
        }
        system.yield()
    }
    return 0
}
