import Addresses
@testable import Inspection
import PageTables
import Testing

@Suite struct FilterTests {
    func range(
        _ flags: PageFlags, va: UInt64 = 0x20_0000, size: UInt64 = 0x4000, gpa: UInt64 = 0x10_0000, page: UInt64 = 4096,
        bits: UInt64 = 0, kind: Backing = .ram, region: String? = "main"
    ) -> AnnotatedRange {
        AnnotatedRange(
            va: GVA(va), size: size, gpa: GPA(gpa), pageSize: page, repeatsPage: false, flags: flags, leafBits: bits,
            kind: kind, region: region, meaning: nil)
    }

    func matches(_ text: String, _ range: AnnotatedRange) throws -> Bool {
        try RangeFilter(parsing: text).matches(range)
    }

    @Test func words() throws {
        let all: [(String, PageFlags)] = [
            ("user", .user), ("writable", .writable), ("executable", .executable), ("global", .global),
            ("accessed", .accessed), ("dirty", .dirty), ("reserved", .reserved),
        ]
        for (word, flag) in all {
            #expect(try matches(word, range([.readable, flag])))
            #expect(try !matches(word, range(.readable)))
            #expect(try matches("not \(word)", range(.readable)))
            #expect(try matches(word.uppercased(), range([.readable, flag])))
        }
        #expect(try matches("supervisor", range(.readable)) && !matches("supervisor", range([.readable, .user])))
        #expect(try !matches("supervisor", range([])) && !matches("present", range([])))
        #expect(try matches("wx", range([.writable, .executable])) && !matches("wx", range(.writable)))
        #expect(
            try matches("mmio", range(.readable, kind: .mmio)) && !matches("ram", range(.readable, kind: .unbacked)))
    }

    @Test func values() throws {
        let some = range([.readable, .writeThrough], page: 2 << 20, bits: 5 << 59)
        #expect(try matches("page=2M", some) && !matches("page=4K", some))
        #expect(try matches("type=WT", some) && !matches("type=wb", some))
        let linux = PageAttributeTable(rawValue: 0x0407_0506_0007_0106)
        #expect(try RangeFilter(parsing: "type=wc").matches(some, types: linux))
        #expect(try matches("region=main", some) && !matches("region=page", some))
        let map = range(.readable, region: "direct map")
        for text in ["region=\"direct map\"", "region=direct-map", "not region=main and \"region=direct map\""] {
            #expect(try matches(text, map) && !matches(text, some))
        }
        #expect(try matches("key=5", some) && !matches("key=0", some))
        for (text, expected) in [
            ("va=200000", true), ("va=203fff", true), ("va=204000", false), ("va=1fffff", false),
            ("va=0-1fffff", false), ("va=0-200000", true), ("va=0x203fff-ffffffffffffffff", true), ("pa=103fff", true),
            ("pa=104000-200000", false), ("pa=0-fffff", false),
        ] { #expect(try matches(text, some) == expected, "\(text)") }
    }

    /// not binds closest, then and, then or.
    @Test func combinations() throws {
        let user = range([.readable, .user])
        for (text, expected) in [
            ("user or writable and global", true), ("(user or writable) and global", false),
            ("not user or user", true), ("not (user or writable)", false), ("not not user", true),
            ("!user||!writable", true), ("user&!writable", true), ("user && writable", false), ("(((user)))", true),
        ] { #expect(try matches(text, user) == expected, "\(text)") }
    }

    @Test(arguments: [
        ("", 0, "a condition is missing"), ("   ", 0, "a condition is missing"),
        ("user and", 8, "a condition is missing"), ("user writable", 5, "'and' or 'or' is missing before 'writable'"),
        ("user and writeable", 9, "unknown condition 'writeable'; did you mean 'writable'?"),
        ("and user", 0, "a condition is missing before 'and'"),
        ("(user", 5, "')' is missing for the '(' at character 1"),
        ("user)", 4, "')' without '('"), ("user or ()", 9, "a condition is missing before ')'"),
        ("page", 4, "'page' needs a value: page=..."), ("user and page=", 14, "a value is missing after 'page='"),
        ("region=\"direct map", 7, "the quotation does not end"),
        ("page=3x", 5, "'3x' is no page size, as 4K, 2M or 1G"),
        ("type=WBX", 5, "'WBX' is no memory type: WB, WT, WC, WP, UC or UC-"),
        ("key=16", 4, "'16' is no protection key: 0 to 15"),
        ("va=5-4", 3, "'5-4' is no address, nor two with a dash between them, the lower first"),
        ("va=1-2-3", 3, "'1-2-3' is no address, nor two with a dash between them, the lower first"),
        ("paeg=4K", 0, "unknown condition 'paeg'; did you mean 'page'?"),
    ]) func mistakes(text: String, position: Int, message: String) {
        #expect(throws: FilterError(message: message, position: position, text: text)) {
            try RangeFilter(parsing: text)
        }
    }

    @Test func theHelpNamesEveryCondition() {
        for name in RangeFilter.words.map(\.name) + RangeFilter.names.map({ $0 + "=" }) {
            #expect(RangeFilter.help.contains(name))
        }
    }

    @Test func theMarkIsBelowThePlace() {
        let error = FilterError(message: "m", position: 3, text: "abc def")
        #expect(error.description == "--filter, character 4: m\n  abc def\n     ^")
    }

    /// Deep nesting is an error, not a crash; random texts are one or the other.
    @Test func hostileTexts() {
        for part in ["(", "not ", "!"] {
            #expect(throws: FilterError.self) {
                try RangeFilter(parsing: String(repeating: part, count: 100_000) + "user")
            }
        }
        let pieces = [
            "user", "and", "or", "not", "(", ")", "&&", "|", "!", "page=", "4K", "=", "va=0-f", " ", "é", "\u{0}",
        ]
        var state: UInt64 = 1
        for _ in 0..<5000 {
            var text = ""
            for _ in 0..<12 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                text += pieces[Int(state >> 33) % pieces.count] + (state >> 40 & 1 == 0 ? " " : "")
            }
            do throws(FilterError) {
                let filter = try RangeFilter(parsing: text)
                _ = filter.matches(range(.readable))
            } catch { #expect(error.position <= text.count) }
        }
    }
}
