// Files that are wrong, and options that do not fit them, at the command line: a message that says what, and the status.

import Addresses
import Foundation
import TestSupport
import Testing

@Suite struct HostileCoreCommandTests {
    /// A core with an empty root at 0x1000.
    static let core: TestCore = {
        var core = TestCore()
        let notes = TestCore.note()
        core.segments = [
            .init(type: 4, offset: 0x400, fileSize: UInt64(notes.count)),
            .init(offset: 0x1000, physical: 0, fileSize: 0x4000),
        ]
        core.contents = [(0x400, notes)]
        return core
    }()

    func expect(
        _ words: [String], _ status: Int32, _ text: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let result = try vitrine(words)
        #expect(result.status == status, "\(words): \(result.output)\(result.errors)", sourceLocation: sourceLocation)
        if status == 0 {
            #expect(result.output.contains(text), "\(result.output)", sourceLocation: sourceLocation)
        } else {
            #expect(result.errors.hasPrefix("vitrine: "), "\(result.errors)", sourceLocation: sourceLocation)
            #expect(result.errors.contains(text), "\(result.errors)", sourceLocation: sourceLocation)
        }
    }

    /// A change to a good core, and what is said of it.
    static let wrong: [(change: @Sendable (inout TestCore) -> Void, size: Int, text: String)] = [
        ({ _ in }, 0x4fff, "segment 1 ends at byte 20480, but the file has 20479: it is truncated"),
        ({ $0.segments[1].fileSize = 1 << 60 }, 0x5000, "it is truncated, or its headers are wrong"),
        ({ $0.segments[1].fileSize = .max }, 0x5000, "runs past the end of the address space"),
        ({ $0.segments[1].physical = .max - 0xfff }, 0x5000, "runs past the end of the address space"),
        ({ $0.segments[1].memorySize = 1 }, 0x5000, "16384 bytes in the file and 1 in memory"),
        (
            { $0.segments.append(.init(offset: 0x1000, physical: 0x2000, fileSize: 0x1000)) }, 0x5000,
            "0x0-0x3fff and 0x2000-0x2fff overlap with different contents"
        ),
        ({ $0.programHeaders = 1 << 50 }, 0x5000, "the program header table ends at byte"),
        ({ $0.programHeaders = .max - 10 }, 0x5000, "the program header table runs past"),
        ({ $0.count = 0xffff }, 0x5000, "a core without memory"),
        ({ $0.machine = 8 }, 0x5000, "a core of machine 8"),
        ({ $0.type = 2 }, 0x5000, "of type 2 and no core"),
        ({ $0.segments[0].fileSize = 1 << 40 }, 0x5000, "notes of 1099511627776 bytes"),
        (
            { $0.contents = [(0x400, TestCore.note(size: 431))] }, 0x5000,
            "the note of CPU 0 says it has 431 bytes; it has 440, and 432 are the least"
        ),
        ({ $0.contents = [(0x400, TestCore.note(version: 9))] }, 0x5000, "has version 9, known is 1"),
        ({ $0.segments.removeLast() }, 0x5000, "a core without memory"),
    ]

    @Test(arguments: wrong.indices) func cores(index: Int) throws {
        let (change, size, text) = Self.wrong[index]
        var core = Self.core
        change(&core)
        var bytes = core.bytes(size: size)
        if size < bytes.count { bytes.removeLast(bytes.count - size) }
        let file = TemporaryFile(bytes)
        for verb in [["pages"], ["map"], ["translate", "0"]] {
            try expect([verb[0], "core:\(file.path)"] + verb.dropFirst(), 2, text)
        }
        try expect(["pages", "core:\(file.path)"], 2, "\(file.path): ")
    }

    @Test func otherFiles() throws {
        try expect(["pages", "core:/nonexistent"], 3, "/nonexistent")
        try expect(["pages", "core:/tmp"], 2, "/tmp is no regular file")
        try expect(["pages", "core:/dev/zero"], 2, "/dev/zero is no regular file")
        try expect(["pages", "core:"], 3, "No such file")
        for (bytes, text) in [
            ([], "the file is empty"), ([1, 2, 3], "with 3 bytes no image"),
            (Array("KDUMP   ".utf8), "kdump-compressed"),
        ] as [([UInt8], String)] {
            let file = TemporaryFile(bytes)
            try expect(["pages", "core:\(file.path)"], 2, text)
        }
    }

    @Test func roots() throws {
        let good = TemporaryFile(Self.core.bytes(size: 0x5000))
        let image = TemporaryFile([UInt8](repeating: 0, count: 0x8000))
        try expect(["pages", "core:\(good.path)"], 0, "nothing is mapped")
        try expect(["pages", "core:\(image.path)"], 4, "a raw image without registers: --root PA names the tables")
        try expect(["pages", "core:\(image.path)", "--root", "0x1000"], 0, "nothing is mapped")
        for file in [good, image] {
            let pages = ["pages", "core:\(file.path)", "--root"]
            try expect(pages + ["0x1008"], 2, "a root is a multiple of 4096, this is 8 more")
            try expect(pages + ["0x100000000"], 2, "no memory slot of")
            try expect(pages + ["zz"], 2, "--root zz: no address")
            try expect(pages + ["0x1008", "--paging", "pae"], 2, "a root is a multiple of 32, this is 8 more")
            try expect(pages + ["0x1020", "--paging", "pae"], 0, "PAE tables, root 0x1020")
            try expect(pages + ["0x1000", "--paging", "arm"], 2, "a root is a multiple of 16384, this is 4096 more")
            try expect(pages + ["0x1000", "--paging", "arm", "--ttbcr", "2"], 0, "ARMv7 short tables, root 0x1000")
            try expect(pages + ["0x1080", "--paging", "arm", "--ttbcr", "7"], 0, "ARMv7 short tables, root 0x1080")
            try expect(pages + ["0x1000", "--paging", "arm", "--ttbcr", "8"], 2, "a number from 0 to 7 is needed")
            try expect(pages + ["0x1000", "--paging", "6-level"], 2, "32-bit, pae, 4-level, 5-level or arm")
        }
        try expect(["pages", "core:\(good.path)", "--ttbcr", "1"], 2, "--ttbcr goes with --paging arm and --root PA")
        try expect(["pages", "core:\(good.path)", "--paging", "arm"], 2, "is no ARM machine; --root PA")
        try expect(["pages", "core:\(good.path)", "--vcpu", "1"], 2, "--vcpu 1")
        try expect(["pages", "core:\(good.path)", "--stage", "A"], 4, "stages were not kept")
    }

    /// The message has the filter and a mark below the mistake.
    @Test func filters() throws {
        let good = TemporaryFile(Self.core.bytes(size: 0x5000))
        for (filter, mark) in [
            ("user and", 8), ("user or wirtable", 8), ("(user", 5), ("page=3X", 5), ("user user", 5), ("va=9-1", 3),
        ] {
            let result = try vitrine(["pages", "core:\(good.path)", "--filter", filter])
            #expect(result.status == 2)
            let lines = result.errors.split(separator: "\n")
            #expect(
                lines.count == 3 && lines[0].hasPrefix("vitrine: --filter, character \(mark + 1): "), "\(result.errors)"
            )
            #expect(lines.dropFirst().first.map(String.init) == "  \(filter)")
            let marked = "  " + String(repeating: " ", count: mark) + "^"
            #expect(lines.last.map(String.init) == marked, "\(result.errors)")
        }
    }
}
