import Glibc
import JSON
import Machine
import Monitor
import SystemCalls
import Targets

@testable import Processes

/// What a guest writes to COM2 while commands wait for answers: each has one, and what is kept stays within bounds. Bytes of
/// 0x80 and more stand for as many blank lines: what is long is told in short.
func fuzzExec(_ bytes: UnsafeRawBufferPointer) {
    let port = SerialPort { _ in }
    let channel = ExecChannel(port: port)
    func ask() { try? channel.submit(ExecRequest(command: "stage", timeout: 3_600_000_000_000, connection: 0)) }
    ask()
    for byte in bytes {
        if byte < 0x80 {
            port.write(0, byte)
        } else {
            for _ in 0..<Int(byte & 0x7f) * 64 { port.write(0, 10) }
        }
        for answer in channel.pump() {
            precondition(answer.failure != nil || answer.lines.reduce(0) { $0 + $1.utf8.count } <= 1 << 20, "too long")
            precondition(!answer.lines.contains { $0 == "ok" }, "an end within an answer")
            ask()
        }
        precondition(channel.keptLines <= 65536 && channel.begunLine.count <= 65536, "kept without bounds")
    }
}

/// What comes over the control socket of a guest, whoever that is: an answer, or an error that says something.
func fuzzAnswers(_ bytes: UnsafeRawBufferPointer) {
    guard let pair = try? UnixSocket.pair(), let other = try? pair.second.duplicate() else { return }
    guard write(other.rawValue, bytes.baseAddress, bytes.count) == bytes.count else { return }
    shutdown(other.rawValue, Int32(SHUT_WR))
    let client = QMPClient(socket: pair.takeFirst(), name: "fuzz")
    do throws(TargetError) {
        for command in ["query-status", "x-vitrine-info"] {
            _ = try client.execute(command, timeout: 1).value.encoded
        }
        while let event = try client.nextEvent(timeout: 0) { _ = event.data.encoded }
    } catch {
        precondition(!error.description.isEmpty, "an error without a word")
    }
}

/// A kernel's file: refused, or segments within the file, and within RAM, of which none overlaps another.
func fuzzKernel(_ bytes: UnsafeRawBufferPointer) {
    guard let file = try? FileDescriptor.sealedFile(named: "fuzz-kernel", Array(bytes)) else { return }
    let memory: UInt64 = 64 << 20
    do throws(MachineError) {
        let plan = try MemoryPlan(layout: "osv", memory: memory, addressBits: 40)
        let kernel = try KernelFile(try InputFile("/proc/self/fd/\(file.rawValue)", role: "kernel"), plan: plan)
        var end: UInt64 = 0
        for segment in kernel.segments {
            precondition(segment.fileSize <= segment.memorySize && segment.memorySize <= memory, "a size")
            precondition(segment.fileOffset + segment.fileSize <= UInt64(bytes.count), "out of the file")
            precondition(segment.address >= end && segment.address + segment.memorySize <= memory, "out of RAM")
            end = segment.address + segment.memorySize
        }
        let entry: UInt64
        switch kernel.entry {
        case .direct(let address, _): entry = address
        case .pvh(let address): entry = UInt64(address)
        }
        precondition(
            kernel.segments.contains { $0.address <= entry && entry < $0.address + $0.memorySize }, "an entry outside")
    } catch {
        precondition(!error.description.isEmpty, "a refusal without a word")
    }
}

/// A program's file by both conventions: refused, or segments within the file, and relocations within those that are writable.
func fuzzProgram(_ bytes: UnsafeRawBufferPointer) {
    for convention in [ProgramImage.Convention.own, .standalone] {
        guard let image = try? ProgramImage(bytes, convention) else { continue }
        precondition((1...ProgramImage.segmentLimit).contains(image.segmentCount), "too many segments")
        for index in 0..<image.segmentCount {
            let segment = image[segment: index]
            precondition(segment.fileSize <= segment.memorySize, "more in the file than in memory")
            precondition(
                segment.fileOffset <= UInt64(bytes.count)
                    && segment.fileSize <= UInt64(bytes.count) - segment.fileOffset,
                "out of the file")
            precondition(segment.address <= segment.end && segment.end <= image.end, "past the end")
        }
        try? image.forEachRelocation { (address, _) throws(ProgramError) in
            let isWritable = (0..<image.segmentCount).contains { index in
                let segment = image[segment: index]
                return segment.isWritable && segment.address <= address && address < segment.end
                    && segment.end - address >= 8
            }
            precondition(isWritable, "a relocation outside")
        }
    }
}
