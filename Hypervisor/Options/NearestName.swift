// "Did you mean": the nearest of some names.

/// The name nearest to a mistyped one, or nil if none is near: at most a third of its letters differ, or one begins with
/// the other.
public func nearestName(to name: String, among names: [String]) -> String? {
    var best: (name: String, distance: Int)?
    for candidate in names {
        let distance = editDistance(Array(name.utf8.prefix(64)), Array(candidate.utf8))
        if distance < best?.distance ?? Int.max { best = (candidate, distance) }
    }
    if let best, best.distance <= max(1, min(name.utf8.count, best.name.utf8.count) / 3) { return best.name }
    guard name.utf8.count >= 2 else { return nil }
    return names.first { $0.hasPrefix(name) || name.hasPrefix($0) }
}

/// `unknown verb 'lits'; did you mean 'list'?`
public func unknownName(_ name: String, among names: [String], what: String, prefix: String = "") -> String {
    let message = "unknown \(what) '\(prefix)\(name)'"
    guard let nearest = nearestName(to: name, among: names) else { return message }
    return message + "; did you mean '\(prefix)\(nearest)'?"
}

/// How many letters must be added, removed, changed or swapped with a neighbour to make `b` of `a`.
func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var beforeLast: [Int] = []
    var last = Array(0...b.count)
    for i in 0..<a.count {
        var row = [i + 1]
        for j in 0..<b.count {
            var cost = min(row[j] + 1, last[j + 1] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforeLast[j - 1] + 1) }
            row.append(cost)
        }
        beforeLast = last
        last = row
    }
    return last[b.count]
}
