import Addresses
import GuestMemory
import Inspection
import JSON
import Layouts
import PageTables
import Testing

@Suite struct MapTests {
    @Test(arguments: [64 << 20, 256 << 20, 6 << 30] as [UInt64], [false, true])
    func thePicture(size: UInt64, ascii: Bool) throws {
        let image = try OSvImage(size: size)
        image.map4K(OSv.programBase, 0x3a0_0000)
        image.map4K(OSv.namespaceBase(1), 0x3a1_5000)
        for subject in [image.subject, image.stage("A"), image.stage("B")] {
            let text = mapText(subject, pid: 42, ascii: ascii)
            let lines = text.split(separator: "\n")
            #expect(lines.allSatisfy { $0.count <= 100 })
            for word in [
                "Core", "program", "mmap", "main", "page", "mempool", "debug", "guest PA", "host VA",
            ] {
                #expect(text.contains(word))
            }
            for slot in subject.slots.slots {
                #expect(text.contains("slot \(slot.id) \(slot.name)"))
                #expect(text.contains(slot.userspaceAddress.hex))
            }
            if ascii { #expect(text.utf8.allSatisfy { $0 < 128 }) }
        }
    }

    /// Every arrow's head stands on a box, every box's line begins at a box: no line hangs in the air.
    @Test func linesMeet() throws {
        let image = try OSvImage()
        image.map4K(OSv.programBase, 0x3a0_0000)
        let lines = mapText(image.subject, pid: 42, ascii: false).split(
            separator: "\n", omittingEmptySubsequences: false
        )
        .map(Array.init)
        let down: Set<Character> = ["│", "┌", "┐", "├", "┤", "┬", "┼", "╷"]
        let up: Set<Character> = ["│", "└", "┘", "├", "┤", "┴", "┼", "╵", "▼"]
        let left: Set<Character> = ["─", "┐", "┘", "┤", "┬", "┴", "┼", "╴"]
        let right: Set<Character> = ["─", "┌", "└", "├", "┬", "┴", "┼", "╶"]
        func at(_ x: Int, _ y: Int) -> Character {
            lines.indices.contains(y) && lines[y].indices.contains(x) ? lines[y][x] : " "
        }
        var arrows = 0
        for y in lines.indices {
            for x in lines[y].indices {
                let character = at(x, y)
                if down.contains(character) { #expect(up.contains(at(x, y + 1)), "line \(y), column \(x)") }
                if up.contains(character) { #expect(down.contains(at(x, y - 1)), "line \(y), column \(x)") }
                if right.contains(character) { #expect(left.contains(at(x + 1, y)), "line \(y), column \(x)") }
                if left.contains(character) { #expect(right.contains(at(x - 1, y)), "line \(y), column \(x)") }
                if character == "▼" {
                    arrows += 1
                    #expect(["─", "┬"].contains(at(x, y + 1)) || left.contains(at(x, y + 1)))
                }
            }
        }
        #expect(arrows >= 10)
    }

    @Test func theContents() throws {
        let image = try OSvImage(size: 6 << 30)
        let json = try JSON.parse(mapJSON(image.subject, pid: 42))
        #expect(json["schema"]?.text == "vitrine.map/1")
        let names = json["virtual"]?.elements?.compactMap { $0["name"]?.text }
        #expect(names == ["Core", "programs", "mmap", "main", "page", "mempool", "debug"])
        let pieces = try #require(json["physical"]?.elements)
        #expect(pieces.compactMap { $0["name"]?.text } == ["low", "Core", "low", "arena", "low2", "devices", "high"])
        // Core leads to Core, page to all RAM.
        #expect(json["virtual"]?.elements?[0]["physical"]?.elements?.compactMap(\.int) == [1])
        #expect(json["virtual"]?.elements?[4]["physical"]?.elements?.compactMap(\.int) == [0, 1, 2, 3, 4, 6])
        #expect(json["host"]?.elements?.count == 4)
    }

    /// Tables of nothing, and tables without a layout.
    @Test func whatIsNotThere() throws {
        let image = try OSvImage()
        let empty = Subject(
            name: "a", layout: nil, slots: image.slots, memory: image.subject.memory, format: .x86FourLevel(),
            root: GPA(0x700_0000))
        #expect(mapText(empty, pid: 1, ascii: false).contains("host VA"))
        let bare = Subject(
            name: "a", layout: nil, slots: image.slots, memory: image.subject.memory, format: .x86FourLevel(),
            root: image.subject.root)
        #expect(mapText(bare, pid: 1, ascii: false).contains("in no region"))
    }
}
