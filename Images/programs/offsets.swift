// A process of osc's initial design (ring 3): its addresses are offsets, reached through GS by accessors that compare with
// SIZE first. It maps two pages, writes marks there, tries what lies at SIZE and beyond, and waits to be looked at.
//
//     4 GiB - 64 KiB    nothing; mapped, so that a store through a wrong base lands in the process's own memory
//     4 GiB             a mark and the process's number, written through GS
//     5 GiB             how many accesses beyond SIZE were refused of how many, by plain stores

private let size: UInt64 = 1 << 33
private let page: UInt64 = 1 << 32
private let results: UInt64 = 5 << 30
private let mark: UInt64 = 0x4f46_4653_4554_0000

func program(_ system: System, _ argument: UnsafePointer<CChar>) -> Int64 {
    // The process's first address is a multiple of SIZE: its code lies there.
    let own =
        UInt64(UInt(bitPattern: unsafeBitCast(vitrine_offset_load as Accessor, to: UnsafeRawPointer.self)))
        & ~(size &- 1)
    let first = page &- 0x10000
    guard let mapped = system.map(at: UnsafeMutableRawPointer(bitPattern: UInt(first)), 0x20000),
        UInt64(UInt(bitPattern: mapped)) == first,
        system.map(at: UnsafeMutableRawPointer(bitPattern: UInt(results)), 4096) != nil,
        let plain = UnsafeMutablePointer<UInt64>(bitPattern: UInt(own &+ results))
    else { return 2 }
    var value: UInt64 = 0
    guard vitrine_offset_store(page, mark | UInt64(bitPattern: system.processNumber())) == 0,
        vitrine_offset_load(page, &value) == 0, value == mark | UInt64(bitPattern: system.processNumber())
    else { return 1 }
    var refused: UInt64 = 0
    var tried: UInt64 = 0
    while tried < 3 {
        refused &+= vitrine_offset_load(size &+ tried &* 8, &value) == 0 ? 0 : 1
        tried &+= 1
    }
    plain[0] = refused
    plain[1] = tried
    Line.print(system) { line in
        line.add("offsets: process ")
        line.add(UInt64(bitPattern: system.processNumber()))
        line.add(" at ")
        line.add(hex: own)
        line.add(", refused ")
        line.add(refused)
        line.add(" of ")
        line.add(tried)
    }
    while true { system.pause() }
}

private typealias Accessor = @convention(c) (UInt64, UnsafeMutablePointer<UInt64>?) -> Int64
