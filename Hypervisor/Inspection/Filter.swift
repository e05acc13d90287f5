// `--filter EXPR`: which ranges of the tables are of interest.
//
//     EXPR  = AND { "or" AND }        AND = NOT { "and" NOT }        NOT = [ "not" ] TERM
//     TERM  = "(" EXPR ")" | WORD | NAME "=" VALUE                   !, &, && and |, || stand for not, and, or

import Addresses
import Options
import PageTables

/// Why a filter is not understood.
public struct FilterError: Error, Equatable, CustomStringConvertible {
    /// What is wrong.
    public let message: String
    /// Where, in characters from 0.
    public let position: Int
    /// The filter.
    public let text: String

    /// A mistake at a place.
    public init(message: String, position: Int, text: String) {
        self.message = message
        self.position = position
        self.text = text
    }

    /// The message, the filter, and a mark below the place.
    public var description: String {
        "--filter, character \(position + 1): \(message)\n  \(text)\n  \(String(repeating: " ", count: position))^"
    }
}

/// A condition on ranges.
public indirect enum RangeFilter: Sendable, Equatable {
    /// Has all of these flags.
    case flags(PageFlags)
    /// Is present.
    case present
    /// Pages of so many bytes.
    case pageSize(UInt64)
    /// Of a memory type.
    case memoryType(MemoryType)
    /// With something behind it.
    case kind(Backing)
    /// In a region.
    case region(String)
    /// With a software bit's meaning.
    case meaning(String)
    /// With a protection key.
    case key(Int)
    /// Touches virtual addresses.
    case va(ClosedRange<GVA>)
    /// Touches physical addresses.
    case pa(ClosedRange<GPA>)
    /// Not so.
    case not(RangeFilter)
    /// Both.
    case and(RangeFilter, RangeFilter)
    /// One of them.
    case or(RangeFilter, RangeFilter)

    /// Whether a range meets the condition.
    ///
    /// - Parameter types: the guest's PAT.
    public func matches(_ range: AnnotatedRange, types: PageAttributeTable = .atReset) -> Bool {
        switch self {
        case .flags(let flags): return range.flags.isSuperset(of: flags)
        case .present: return !range.flags.isEmpty
        case .pageSize(let size): return range.pageSize == size
        case .memoryType(let type): return !range.flags.isEmpty && types.type(of: range.flags) == type
        case .kind(let kind): return range.kind == kind
        // On a command line a dash is easier to write than a blank.
        case .region(let name):
            return range.region == name || range.region == String(name.map { $0 == "-" ? " " : $0 })
        // Several bits of one entry are named with commas between them.
        case .meaning(let name): return range.meaning?.split(separator: ",").contains { $0 == name } ?? false
        case .key(let key): return !range.flags.isEmpty && ProtectionKey.of(leaf: range.leafBits) == key
        case .va(let bounds): return range.va <= bounds.upperBound && range.va &+ (range.size &- 1) >= bounds.lowerBound
        case .pa(let bounds):
            let size = range.repeatsPage ? range.pageSize : range.size
            return !range.flags.isEmpty && range.gpa <= bounds.upperBound
                && range.gpa &+ (size &- 1) >= bounds.lowerBound
        case .not(let filter): return !filter.matches(range, types: types)
        case .and(let first, let second):
            return first.matches(range, types: types) && second.matches(range, types: types)
        case .or(let first, let second):
            return first.matches(range, types: types) || second.matches(range, types: types)
        }
    }

    /// The words that stand alone.
    static let words: [(name: String, filter: RangeFilter)] = [
        ("present", .present), ("user", .flags(.user)), ("supervisor", .and(.present, .not(.flags(.user)))),
        ("writable", .flags(.writable)), ("executable", .flags(.executable)),
        ("wx", .flags([.writable, .executable])), ("global", .flags(.global)), ("accessed", .flags(.accessed)),
        ("dirty", .flags(.dirty)), ("reserved", .flags(.reserved)), ("ram", .kind(.ram)), ("mmio", .kind(.mmio)),
        ("unbacked", .kind(.unbacked)),
    ]
    /// The names that have a value.
    static let names = ["page", "type", "region", "meaning", "key", "va", "pa"]

    /// What there is, for help: a few lines.
    public static let help = """
        present, user, supervisor, writable, executable, wx, global, accessed, dirty, reserved, ram, mmio, unbacked,
        page=4K|2M|1G, type=WB|WT|WC|WP|UC|UC-, region=NAME, meaning=NAME, key=N, va=A or A-B, pa=A or A-B;
        a name with a blank as region=direct-map or region="direct map"
        """

    /// Reads a filter.
    public init(parsing text: String) throws(FilterError) {
        var parser = FilterParser(text)
        self = try parser.whole()
    }
}

/// Reads filters.
private struct FilterParser {
    struct Token {
        let text: String
        let position: Int
    }

    let text: String
    var tokens: [Token] = []
    var next = 0
    var depth = 0
    /// Where a quotation begins that does not end. Quoted blanks and signs are part of a word.
    var openQuote: Int?
    /// Parentheses and negations within each other, at most: the reader calls itself.
    static let depthLimit = 100

    init(_ text: String) {
        self.text = text
        var word = ""
        var start = 0
        func isSymbol(_ character: Character) -> Bool { "()!&|".contains(character) }
        for (position, character) in text.enumerated() {
            if character == "\"" {
                openQuote = openQuote == nil ? position : nil
                if word.isEmpty { start = position }
            } else if openQuote != nil {
                word.append(character)
            } else if character == " " || character == "\t" || isSymbol(character) {
                if !word.isEmpty { tokens.append(Token(text: word, position: start)) }
                word = ""
                if isSymbol(character) {
                    // Two signs that touch are one: && and ||.
                    if let last = tokens.last, last.text == String(character), last.position == position - 1,
                        character == "&" || character == "|"
                    {
                        continue
                    }
                    tokens.append(Token(text: String(character), position: position))
                }
            } else {
                if word.isEmpty { start = position }
                word.append(character)
            }
        }
        if !word.isEmpty { tokens.append(Token(text: word, position: start)) }
    }

    func fail(_ message: String, at position: Int? = nil) -> FilterError {
        FilterError(message: message, position: position ?? text.count, text: text)
    }

    /// Takes the next token if it is one of these.
    mutating func take(_ words: String...) -> Bool {
        guard next < tokens.count, words.contains(tokens[next].text.lowercased()) else { return false }
        next += 1
        return true
    }

    mutating func whole() throws(FilterError) -> RangeFilter {
        if let openQuote { throw fail("the quotation does not end", at: openQuote) }
        guard !tokens.isEmpty else { throw fail("a condition is missing", at: 0) }
        let filter = try either()
        guard next == tokens.count else {
            let token = tokens[next]
            let message = token.text == ")" ? "')' without '('" : "'and' or 'or' is missing before '\(token.text)'"
            throw fail(message, at: token.position)
        }
        return filter
    }

    mutating func either() throws(FilterError) -> RangeFilter {
        var filter = try both()
        while take("or", "|") { filter = .or(filter, try both()) }
        return filter
    }

    mutating func both() throws(FilterError) -> RangeFilter {
        var filter = try negation()
        while take("and", "&") { filter = .and(filter, try negation()) }
        return filter
    }

    mutating func negation() throws(FilterError) -> RangeFilter {
        depth += 1
        defer { depth -= 1 }
        guard depth <= FilterParser.depthLimit else {
            throw fail("more than \(FilterParser.depthLimit) within each other", at: tokens[next - 1].position)
        }
        if take("not", "!") { return .not(try negation()) }
        guard next < tokens.count else { throw fail("a condition is missing") }
        let token = tokens[next]
        if take("(") {
            let filter = try either()
            guard take(")") else {
                throw fail("')' is missing for the '(' at character \(token.position + 1)")
            }
            return filter
        }
        guard !["and", "or", ")", "&", "|"].contains(token.text.lowercased()) else {
            throw fail("a condition is missing before '\(token.text)'", at: token.position)
        }
        next += 1
        return try term(token)
    }

    func term(_ token: Token) throws(FilterError) -> RangeFilter {
        guard let sign = token.text.firstIndex(of: "=") else {
            if let word = RangeFilter.words.first(where: { $0.name == token.text.lowercased() }) { return word.filter }
            if RangeFilter.names.contains(token.text.lowercased()) {
                throw fail("'\(token.text)' needs a value: \(token.text)=...", at: token.position + token.text.count)
            }
            let names = RangeFilter.words.map(\.name) + RangeFilter.names
            throw fail(unknownName(token.text, among: names, what: "condition"), at: token.position)
        }
        let name = token.text[..<sign].lowercased()
        let value = String(token.text[token.text.index(after: sign)...])
        let place = token.position + token.text.distance(from: token.text.startIndex, to: sign) + 1
        guard RangeFilter.names.contains(name) else {
            throw fail(unknownName(name, among: RangeFilter.names, what: "condition"), at: token.position)
        }
        guard !value.isEmpty else { throw fail("a value is missing after '\(name)='", at: place) }
        guard let filter = filter(name, value) else { throw fail(complaint(name, value), at: place) }
        return filter
    }

    func filter(_ name: String, _ value: String) -> RangeFilter? {
        switch name {
        case "page": return parseSize(value).map { .pageSize($0) }
        case "type":
            let types: [MemoryType] = [
                .uncacheable, .writeCombining, .writeThrough, .writeProtected, .writeBack, .uncacheableMinus,
            ]
            return types.first { $0.description == value.uppercased() }.map { .memoryType($0) }
        case "region": return .region(value)
        case "meaning": return .meaning(value)
        case "key": return Int(value).flatMap { (0..<16).contains($0) ? .key($0) : nil }
        case "va": return FilterParser.bounds(value).map { .va(GVA($0.lowerBound)...GVA($0.upperBound)) }
        default: return FilterParser.bounds(value).map { .pa(GPA($0.lowerBound)...GPA($0.upperBound)) }
        }
    }

    func complaint(_ name: String, _ value: String) -> String {
        switch name {
        case "page": return "'\(value)' is no page size, as 4K, 2M or 1G"
        case "type": return "'\(value)' is no memory type: WB, WT, WC, WP, UC or UC-"
        case "key": return "'\(value)' is no protection key: 0 to 15"
        default: return "'\(value)' is no address, nor two with a dash between them, the lower first"
        }
    }

    static func bounds(_ text: String) -> ClosedRange<UInt64>? {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard let first = parseHexadecimal(parts[0]) else { return nil }
        guard parts.count > 1 else { return first...first }
        guard parts.count == 2, let last = parseHexadecimal(parts[1]), first <= last else { return nil }
        return first...last
    }
}
