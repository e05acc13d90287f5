// Guest memory on a command line in QEMU's words.

import Glibc
import Machine
import Options
import SystemCalls

/// How much memory there is to be, and behind what pages.
struct QEMUMemory {
    private var size: UInt64 = 128 << 20
    private var backendSize: UInt64?
    private var hugePages: HugePageSize?

    /// Reads the value of `-m`.
    mutating func read(_ text: String) throws(UsageError) {
        var value = try QEMUValue("-m", text, first: "size")
        let given = try value.need("size")
        guard let size = QEMUValue.size(given, unit: 1 << 20) else {
            throw UsageError("-m \(given): a size is needed, such as 256M")
        }
        self.size = size
        if let most = value.take("maxmem"), QEMUValue.size(most, unit: 1 << 20) != size {
            throw UsageError("-m \(text): memory cannot be added later; maxmem must be the size")
        }
        _ = value.take("slots")
        try value.end()
    }

    /// Reads the value of `-mem-path`: a folder of hugetlbfs.
    mutating func readPath(_ path: String) throws(UsageError) {
        let size: UInt64
        do throws(Errno) {
            size = try FileDescriptor(open: path, O_RDONLY | O_NONBLOCK | O_NOCTTY).blockSize()
        } catch {
            throw UsageError("-mem-path: \(error)")
        }
        guard let huge = HugePageSize(rawValue: size) else {
            throw UsageError(
                "-mem-path \(path): pages of \(size) bytes: a folder of hugetlbfs is needed, with pages of 2M or 1G")
        }
        hugePages = huge
    }

    /// Reads the rest of `-object memory-backend-...`.
    mutating func readBackend(_ type: String, _ value: inout QEMUValue) throws(UsageError) {
        let given = try value.need("size")
        guard let size = QEMUValue.size(given, unit: 1) else {
            throw UsageError("-object \(type),size=\(given): a size is needed")
        }
        guard backendSize == nil else { throw UsageError("-object \(type): there is one memory, so one backend") }
        backendSize = size
        if let path = value.take("mem-path") { try readPath(path) }
        if try value.flag("hugetlb") ?? false {
            let text = value.take("hugetlbsize") ?? "2M"
            guard let huge = QEMUValue.size(text, unit: 1).flatMap({ HugePageSize(rawValue: $0) }) else {
                throw UsageError("-object \(type),hugetlbsize=\(text): 2M and 1G are possible")
            }
            hugePages = huge
        }
        // It always is a file of its own, shared with nobody who is not given it, and left out of cores.
        for key in ["share", "discard-data", "dump", "merge", "prealloc", "reserve", "seal"] { _ = try value.flag(key) }
        for key in ["prealloc-threads", "x-use-canonical-path-for-ramblock-id", "align"] { _ = value.take(key) }
        try value.end()
    }

    /// Puts the result into a machine's description.
    func finish(_ machine: inout MachineConfiguration) throws(UsageError) {
        if let backendSize, backendSize != size {
            throw UsageError("-object memory-backend: \(backendSize) bytes for a machine of \(size) (-m)")
        }
        machine.memory = size
        machine.hugePages = hugePages
    }
}
