// The table of figures, and how numbers are written in it.

import Glibc

/// A figure, its reference and the goal.
struct Row {
    let what: String
    let measured: String
    var reference = "-"
    var ratio = "-"
    let goal: String
    let met: Bool?
}

func fixed(_ value: Double, _ digits: Int = 2) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    guard value.isFinite, abs(value) < 1e12 else { return "?" }
    let scaled = Int((abs(value) * scale).rounded())
    let whole = scaled / Int(scale)
    let fraction = String(scaled % Int(scale))
    let sign = value < 0 ? "-" : ""
    return digits == 0
        ? "\(sign)\(whole)" : "\(sign)\(whole)." + String(repeating: "0", count: digits - fraction.count) + fraction
}

func milliseconds(_ seconds: Double) -> String { fixed(seconds * 1e3) + " ms" }

func explain(_ text: String) {
    let line = text + "\n"
    _ = line.withCString { write(STDERR_FILENO, $0, strlen($0)) }
}

func stop(_ text: String) -> Never {
    explain("vitrine-bench: " + text)
    exit(4)
}

/// The table of all figures.
func printRows(_ rows: [Row]) {
    let table =
        [["", "measured", "reference", "ratio", "goal", ""]]
        + rows.map {
            [$0.what, $0.measured, $0.reference, $0.ratio, $0.goal, $0.met.map { $0 ? "met" : "MISSED" } ?? ""]
        }
    var widths = [Int](repeating: 0, count: 6)
    for line in table { for (index, cell) in line.enumerated() { widths[index] = max(widths[index], cell.count) } }
    for line in table {
        let cells = line.enumerated().map { $1 + String(repeating: " ", count: widths[$0] - $1.count) }
        print(cells.joined(separator: "  "))
    }
}
