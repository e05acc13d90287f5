import Addresses
import Cores
import Glibc
import GuestMemory
import Testing

func truncateFile(_ path: String, _ size: Int) -> Bool { truncate(path, size) == 0 }

@Suite struct HostileCoreTests {
    var core = TestCore()

    init() {
        let notes = TestCore.note()
        core.segments = [
            .init(type: 4, offset: 0x400, fileSize: UInt64(notes.count)),
            .init(offset: 0x1000, physical: 0, fileSize: 0x2000),
        ]
        core.contents = [(0x400, notes)]
    }

    func error(_ core: TestCore, size: Int = 0x3000) -> CoreError? {
        do throws(CoreError) {
            _ = try open(core.bytes(size: size))
            return nil
        } catch { return error }
    }

    @Test func theCoreIsGoodAsItIs() { #expect(error(core) == nil) }

    /// Cut at every byte of the headers and the notes, and here and there behind: an error or a smaller memory, no crash.
    @Test(arguments: [true, false]) func truncated(is64Bit: Bool) throws {
        var core = core
        core.is64Bit = is64Bit
        let bytes = core.bytes(size: 0x3000)
        for size in Array(0..<0x700) + [0x1000, 0x1001, 0x2fff] {
            do throws(CoreError) {
                _ = try open(Array(bytes.prefix(size)))
                Issue.record("\(size) bytes were enough")
            } catch {
                switch error {
                case .truncated, .format: break
                default: Issue.record("\(size) bytes: \(error)")
                }
            }
        }
        #expect(error(core, size: 0x2fff) == .truncated("segment 1", end: 0x3000, size: 0x2fff))
    }

    @Test func exabytes() {
        var core = core
        core.segments[1].fileSize = 1 << 60
        #expect(error(core) == .truncated("segment 1", end: 1 << 60 | 0x1000, size: 0x3000))
        core.segments[1].fileSize = .max
        #expect(error(core) == .overflow("segment 1, file offset 4096,"))
        core.segments[1].fileSize = 0x2000
        core.segments[1].memorySize = .max
        #expect(error(core) == nil)
        core.segments[1].physical = .max - 0xfff
        #expect(error(core) == .overflow("segment 1, GPA 0xfffffffffffff000,"))
        core.segments[1].physical = 0
        core.segments[1].memorySize = 0x1000
        #expect(error(core) == .header("segment 1 has 8192 bytes in the file and 4096 in memory"))
        core.segments[1].memorySize = nil
        core.segments[0].fileSize = 1 << 40
        #expect(error(core) == .header("notes of 1099511627776 bytes"))
        core.segments[0].offset = .max
        core.segments[0].fileSize = 8
        #expect(error(core) == .overflow("the note segment"))
        core.programHeaders = .max - 10
        #expect(error(core) == .overflow("the program header table"))
        core.programHeaders = 1 << 50
        #expect(error(core) == .truncated("the program header table", end: 1 << 50 + 112, size: 0x3000))
    }

    @Test func overlaps() {
        var core = core
        core.segments.append(.init(offset: 0x1000, physical: 0x1fff, fileSize: 0x1000))
        #expect(error(core) == .overlap(first: GPA(0)...GPA(0x1fff), second: GPA(0x1fff)...GPA(0x2ffe)))
        core.segments[2].physical = 0x2000
        #expect(error(core) == nil)
    }

    @Test func headers() {
        var core = core
        core.entrySize = 55
        #expect(error(core) == .header("program headers of 55 bytes; they have at least 56"))
        core.entrySize = 0xffff
        #expect(error(core) == .truncated("the program header table", end: 64 + 2 * 65535, size: 0x3000))
        core.entrySize = nil
        core.type = 2
        #expect(error(core) == .format("an ELF file, but of type 2 and no core (4)"))
        core.type = 4
        core.machine = 8
        #expect(error(core) == .format("a core of machine 8, which is neither x86 nor ARM"))
        core.machine = 62
        core.segments.removeLast()
        #expect(error(core) == .format("a core without memory"))
        core.segments = [
            .init(offset: 0x1000, virtual: 0x4000, fileSize: 16), .init(offset: 0x1000, virtual: 0x8000, fileSize: 16),
        ]
        #expect(error(core) == .format("the core of a process: its segments have no physical addresses"))
    }

    @Test(arguments: [4, 5]) func identification(byte: Int) {
        var bytes = core.bytes(size: 0x3000)
        bytes[byte] = byte == 4 ? 3 : 2
        let text =
            byte == 4
            ? "an ELF file of class 3, neither 32-bit (1) nor 64-bit (2)"
            : "a big-endian ELF file; only little-endian ones are read"
        #expect(throws: CoreError.format(text)) { try open(bytes) }
    }

    /// Notes of the wrong size or version.
    @Test func notes() {
        func noteError(_ note: [UInt8]) -> CoreError? {
            var core = core
            core.contents = [(0x400, note)]
            core.segments[0].fileSize = UInt64(note.count)
            return error(core)
        }
        #expect(noteError(TestCore.note(size: 432, actual: 432)) == nil)
        #expect(noteError(TestCore.note(version: 2)) == .note("the note of CPU 0 has version 2, known is 1"))
        for (size, actual) in [(431, 440), (440, 432), (0, 440), (0xffff_ffff, 440)] as [(UInt32, Int)] {
            #expect(
                noteError(TestCore.note(size: size, actual: actual))
                    == .note("the note of CPU 0 says it has \(size) bytes; it has \(actual), and 432 are the least"))
        }
        #expect(noteError(TestCore.note(actual: 7)) == .note("the note of CPU 0 has 7 bytes"))
        #expect(
            noteError(Array(TestCore.note().dropLast(4)))
                == .note("the note at byte 0 of its segment ends at 460, the segment at 456"))
        #expect(noteError(little(UInt32.max) + little(UInt32.max) + little(0 as UInt32)) != nil)
        // Other notes, a rest too short for one, and nothing at all are no errors.
        #expect(noteError(TestCore.note(name: "VMCOREINFO") + [1, 2, 3]) == nil)
        #expect(noteError([]) == nil)
    }

    @Test(arguments: ["KDUMP   ", "makedumpfile", "LibvirtQemudSave", "LibvirtQemudPart"]) func others(magic: String) {
        let bytes = Array(magic.utf8) + [UInt8](repeating: 0, count: 8192)
        #expect { try open(bytes) } throws: { error in
            guard case .format = error as? CoreError else { return false }
            return true
        }
    }

    @Test func files() {
        #expect(throws: CoreError.format("the file is empty")) { try open([]) }
        #expect(throws: CoreError.format("no ELF core, and with 100 bytes no image of a machine's RAM")) {
            try open([UInt8](repeating: 1, count: 100))
        }
        for path in ["/nonexistent", "/dev/null", "/tmp"] {
            #expect { try CoreFile(path: path) } throws: { error in
                guard case .call = error as? CoreError else { return false }
                return true
            }
        }
    }

    /// Any byte of the headers and notes changed to anything: an answer, no crash, no hang, and reads stay in the file.
    @Test(arguments: [true, false]) func changedBytes(is64Bit: Bool) {
        var core = core
        core.is64Bit = is64Bit
        let bytes = core.bytes(size: 0x3000)
        var state: UInt64 = is64Bit ? 1 : 2
        func random(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % limit
        }
        var accepted = 0
        for _ in 0..<4000 {
            var changed = bytes
            for _ in 0...random(4) {
                let place = random(2) == 0 ? random(200) : 0x400 + random(480)
                changed[place] = [0, 1, 0x7f, 0x80, 0xff, UInt8(random(256))][random(6)]
            }
            guard let file = try? open(changed) else { continue }
            accepted += 1
            for segment in file.segments.prefix(4) {
                _ = file.page(at: segment.start)
                _ = file.page(at: segment.range.upperBound)
            }
        }
        #expect(accepted > 100)
    }
}
