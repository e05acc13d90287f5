import Options
import Testing

@Suite struct ArgumentsTests {
    private let known = [
        OptionDescription("memory", "SIZE", "RAM"), OptionDescription("detach", nil, "go away"),
        OptionDescription("program", "FILE", "a program", repeated: true),
    ]

    @Test func bothFormsOfAnOption() throws {
        let arguments = try Arguments(
            ["a", "--memory", "1G", "--program=x=y", "--program", "-", "--detach"], known: known)
        #expect(arguments.value("memory") == "1G")
        #expect(arguments.values("program") == ["x=y", "-"])
        #expect(arguments.flag("detach"))
        #expect(arguments.operands == ["a"])
    }

    @Test func twoDashesEndTheOptions() throws {
        #expect(try Arguments(["--", "--memory", "-x"], known: known).operands == ["--memory", "-x"])
        #expect(
            try Arguments(["t", "touch", "--detach"], known: known, literalAfter: 1).operands == [
                "t", "touch", "--detach",
            ])
        #expect(try Arguments(["t", "--", "--", "x"], known: known, literalAfter: 1).operands == ["t", "--", "x"])
    }

    @Test(arguments: [
        (["--memroy", "1G"], "unknown option '--memroy'; did you mean '--memory'? (see --help)"),
        (["--zzz"], "unknown option '--zzz' (see --help)"),
        (["--memory"], "--memory needs a value: --memory SIZE"),
        (["--detach=1"], "--detach takes no value"),
        (["--memory", "1", "--memory=2"], "--memory is given twice"),
        (["-x"], "unknown option '-x'; options begin with two dashes (see --help)"),
    ])
    func refusals(_ words: [String], _ message: String) {
        #expect(throws: UsageError(message)) { try Arguments(words, known: known) }
    }

    @Test func operandsAndNumbers() throws {
        var arguments = try Arguments(["a", "--memory=12", "b", "c"], known: known)
        #expect(try arguments.operand("TARGET") == "a")
        #expect(try arguments.number("memory", in: 0...12) == 12)
        #expect(throws: UsageError.self) { try arguments.number("memory", in: 0...11) }
        #expect(throws: UsageError("unexpected 'b' (see --help)")) { try arguments.end() }
        #expect(arguments.remainingOperands() == ["b", "c"])
        #expect(throws: UsageError("VA is missing (see --help)")) { try arguments.operand("VA") }
        try arguments.end()
    }

    @Test func nearest() {
        let verbs = ["run", "list", "translate", "console"]
        #expect(nearestName(to: "lits", among: verbs) == "list")
        #expect(nearestName(to: "trnslate", among: verbs) == "translate")
        #expect(nearestName(to: "cons", among: verbs) == "console")
        #expect(nearestName(to: "xyzzy", among: verbs) == nil)
        #expect(nearestName(to: "", among: verbs) == nil)
    }
}
