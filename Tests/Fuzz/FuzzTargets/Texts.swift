import Inspection
import JSON
import Targets

/// A filter: a condition, or an error that names a place within the text.
func fuzzFilter(_ bytes: UnsafeRawBufferPointer) {
    let text = String(decoding: bytes, as: UTF8.self)
    do throws(FilterError) {
        let filter = try RangeFilter(parsing: text)
        precondition(filter == filter)
    } catch {
        precondition((0...text.count).contains(error.position), "a place outside of the filter")
        precondition(error.text == text && error.description.hasSuffix("^"), "no mark")
    }
}

/// A JSON text: what is understood is written so that it is understood again, as the same.
func fuzzJSON(_ bytes: UnsafeRawBufferPointer) {
    guard let value = try? JSON.parse(Array(bytes)) else { return }
    let text = value.encoded
    guard let again = try? JSON.parse(Array(text.utf8)) else { preconditionFailure("not understood again: \(text)") }
    precondition(again.encoded == text, "not the same: \(text)")
}

/// What a monitor says: nothing that is made of it runs over.
func fuzzMonitor(_ bytes: UnsafeRawBufferPointer) {
    let text = String(decoding: bytes, as: UTF8.self)
    for range in QEMUText.memoryView(text) {
        precondition(range.first <= range.last, "a range that ends before it begins")
    }
    _ = QEMUText.hostAddress(text)
    let registers = QEMUText.registers(text)
    precondition(Set(registers.values.map(\.name)).count == registers.values.count, "a register twice")
    if let page = QEMUText.numbers(text, count: 512) { precondition(page.count == 512, "no page") }
    if let contents = DebuggerText.contents(of: Array(bytes)) {
        _ = DebuggerText.value(contents)
        _ = DebuggerText.registers(contents)
    }
    _ = DebuggerText.value(Array(bytes))
    _ = DebuggerText.registers(Array(bytes))
}
