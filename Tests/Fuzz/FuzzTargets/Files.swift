import Addresses
import Cores
import GuestMemory
import PageTables
import SystemCalls
import Targets

/// A file that claims to be a core: whatever it is, it is refused or read within its bounds; a dump of its tables says the
/// same as it does itself.
func fuzzCore(_ bytes: UnsafeRawBufferPointer) {
    guard let file = try? FileDescriptor.sealedFile(named: "fuzz-core", Array(bytes)),
        let target = try? CoreTarget(path: "/proc/self/fd/\(file.rawValue)")
    else { return }
    var buffer = [UInt8](repeating: 0, count: 64)
    for segment in target.file.segments.prefix(16) {
        precondition(
            segment.size > 0 && segment.offset + segment.size <= UInt64(bytes.count), "a segment out of the file")
        _ = target.memory.page(at: segment.start)
        _ = buffer.withUnsafeMutableBytes { target.memory.read(segment.range.upperBound, into: $0) }
    }
    for address in [0, 0xfff, .max] as [UInt64] { _ = target.memory.page(at: GPA(address)) }
    guard target.vcpuCount > 0 else {
        let space = AddressSpace(format: target.isARM ? .armShort() : .x86FourLevel(), root: GPA(0))
        _ = space.runs(in: target.memory, limit: 100)
        return
    }
    for vcpu in 0..<min(4, target.vcpuCount) {
        guard let space = try? target.addressSpace(vcpu: vcpu) else { continue }
        let (runs, summary) = space.runs(in: target.memory, limit: 100)
        guard vcpu == 0, summary.isComplete, target.vcpuCount <= 4 else { continue }
        checkSaved(target, space, runs)
    }
}

private func checkSaved(_ target: CoreTarget, _ space: AddressSpace, _ runs: [MappedRun]) {
    guard let writer = try? CoreWriter(tablesOf: target), !writer.pages.isEmpty || !writer.ram.isEmpty else { return }
    var saved: [UInt8] = []
    do throws(Errno) {
        try writer.write { saved += $0 }
    } catch {
        preconditionFailure("writing into an array failed")
    }
    // RAM alone is no dump.
    guard !writer.pages.isEmpty else { return }
    guard let file = try? FileDescriptor.sealedFile(named: "fuzz-saved", saved),
        let again = try? CoreTarget(path: "/proc/self/fd/\(file.rawValue)")
    else { preconditionFailure("a dump that was just written is refused") }
    precondition((try? again.addressSpace()) == space, "other tables")
    precondition(space.runs(in: again.memory, limit: 100).runs == runs, "other runs")
}
