import JSON
import TestSupport
import Testing

@Suite struct JSONTests {
    @Test func valuesKeepTheirOrderAndType() throws {
        let value = try JSON.parse(#" {"z":1,"a":[true,null,-2.5,"x\u0000\"\n"],"m":{}} "#)
        #expect(value.members?.map(\.name) == ["z", "a", "m"])
        #expect(value["a"] == .array([.bool(true), .null, .real(-2.5), .string("x\0\"\n")]))
        #expect(value["z"]?.int == 1 && value["m"]?.members?.isEmpty == true && value["none"] == nil)
        #expect(try JSON.parse(value.encoded) == value)
        #expect(try JSON.parse("7") == 7)
        #expect(try JSON.parse("-9223372036854775808").int == Int.min)
        #expect(try JSON.parse("\"\u{e9}\u{1f600}\"").text == "\u{e9}\u{1f600}")
    }

    @Test(arguments: [
        "", " ", "{", "}", "[1,", "{\"a\":}", "{\"a\":1}x", "nul", "'a'", "{\"a\":1,\"a\":2}", "[1 2]", "01", "\"\\x\"",
        "\"\\ud800\"", "99999999999999999999", "[1],", "\u{feff}{}", "\"a\nb\"",
    ])
    func refusals(_ text: String) {
        #expect(throws: JSONError.self) { try JSON.parse(text) }
    }

    @Test func invalidUTF8IsRefused() {
        #expect(throws: JSONError.self) { try JSON.parse([0x22, 0xff, 0x22] as [UInt8]) }
        #expect(throws: JSONError.self) { try JSON.parse([0x22, 0xed, 0xa0, 0x80, 0x22] as [UInt8]) }
    }

    @Test func errorsSayWhere() throws {
        do {
            _ = try JSON.parse("{\n \"a\": 1,\n \"b\" 2}")
            Issue.record("parsed")
        } catch {
            #expect(error.line == 3)
            #expect(error.description.hasPrefix("JSON, line 3, byte "))
        }
    }

    @Test func limits() throws {
        let deep = String(repeating: "[", count: 64) + String(repeating: "]", count: 64)
        _ = try JSON.parse(deep)
        #expect(throws: JSONError(reason: "deeper than 64 levels", line: 1, position: 64)) {
            try JSON.parse("[" + deep + "]")
        }
        #expect(throws: JSONError.self) { try JSON.parse(String(repeating: "{\"a\":", count: 100_000)) }
        // Brackets within a text are no depth, an escaped quote does not end it.
        #expect(try JSON.parse("\"\\\"" + deep + deep + "\"").text?.utf8.count == 257)
        #expect(throws: JSONError.self) { try JSON.parse("\"" + deep + "\"", limits: JSONLimits(bytes: 100)) }
    }

    @Test func randomBytesNeverTrap() {
        var generator = Random(seed: 1)
        let alphabet = Array("{}[]\",:\\u0019truefalsn-.eE \n\u{7f}".utf8) + [0, 0xff, 0xc3]
        for _ in 0..<5000 {
            let count = Int.random(in: 0..<40, using: &generator)
            let bytes = (0..<count).map { _ in alphabet.randomElement(using: &generator) ?? 0 }
            if let value = try? JSON.parse(bytes) { #expect((try? JSON.parse(value.encoded)) == value) }
        }
    }

    @Test func writerMatchesParser() throws {
        var writer = JSONWriter()
        writer.object {
            $0.member("schema", "vitrine.test/1")
            $0.member("nothing", nil as String?)
            $0.key("ranges")
            $0.array {
                for index in 0..<3 as Range<UInt64> {
                    $0.object {
                        $0.member("va", hex: 0xffff_8000_0000_0000 + index)
                        $0.member("size", UInt64.max)
                        $0.member("negative", Int64.min)
                        $0.member("half", 0.5)
                        $0.member("yes", true)
                    }
                }
                $0.hex(0)
                $0.hex(.max)
                $0.value(-1)
                $0.value(Double.nan)
                $0.array { _ in }
                $0.value("\u{1}\"\\\u{7f}")
            }
        }
        let expected =
            #"{"schema":"vitrine.test/1","nothing":null,"ranges":["#
            + (0..<3).map {
                #"{"va":"0xffff80000000000\#($0)","size":18446744073709551615,"negative":-9223372036854775808,"half":0.5,"yes":true}"#
            }.joined(separator: ",")
            + #","0x0","0xffffffffffffffff",-1,null,[],"\u0001\"\\\u007f"]}"#
        #expect(writer.text == expected)
        let parsed = try JSON.parse(writer.text.replacing18446744073709551615())
        #expect(parsed["ranges"]?.elements?.first?["va"]?.address == 0xffff_8000_0000_0000)
        #expect(JSON.hex(0x1f).address == 0x1f)
        #expect(
            JSON.string("0x+1").address == nil && JSON.string("1f").address == nil && JSON.string("0x").address == nil)
    }

    @Test func literalsAndPieces() {
        let value: JSON = ["a": 1, "b": [true, "x"], "c": .init(UInt64.max)]
        #expect(value.encoded == #"{"a":1,"b":[true,"x"],"c":18446744073709551615}"#)
        #expect(value["c"]?.uint64 == UInt64.max && value["c"]?.int == nil)
        var writer = JSONWriter()
        writer.beginArray()
        writer.value(1)
        #expect(writer.take() == Array("[1".utf8))
        writer.value(2)
        writer.endArray()
        #expect(writer.text == ",2]")
    }
}

extension String {
    /// The parser refuses numbers beyond Int64, so the test's one becomes 1.
    fileprivate func replacing18446744073709551615() -> String {
        split(separator: "18446744073709551615", omittingEmptySubsequences: false).joined(separator: "1")
    }
}
