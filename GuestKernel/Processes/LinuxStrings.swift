// The strings of a process of the linux layout: where the words of its arguments and its environment come from.

/// The strings of a process: its arguments, its environment, its file's name; each NUL-terminated in its memory.
struct LinuxStrings {
    private let name: UnsafePointer<CChar>?
    private(set) var argumentCount: UInt64 = 0
    private(set) var environmentCount: UInt64 = 0
    private(set) var argumentsSize: UInt64 = 0
    private(set) var environmentSize: UInt64 = 0
    private(set) var nameSize: UInt64 = 0

    /// All bytes of all strings.
    var size: UInt64 { argumentsSize &+ environmentSize &+ nameSize }

    /// `program` is the physical address of the name of the program's file, which is the first argument; 0 if it has none.
    init(_ program: UInt64) {
        name = program == 0 ? nil : StartInfo.text(at: program)
        var (count, bytes): (UInt64, UInt64) = (0, 0)
        eachArgument { _, size in
            count &+= 1
            bytes &+= size &+ 1
        }
        (argumentCount, argumentsSize) = (count, bytes)
        (count, bytes) = (0, 0)
        eachVariable { _, size in
            count &+= 1
            bytes &+= size &+ 1
        }
        (environmentCount, environmentSize) = (count, bytes)
        eachName { _, size in nameSize = size &+ 1 }
    }

    /// The file's name alone.
    func eachName(_ body: (UnsafePointer<CChar>, UInt64) -> Void) {
        var size: UInt64 = 0
        if let name {
            while size < 255 && name[Int(size)] != 0 { size &+= 1 }
            body(name, size)
        } else {
            LinuxStrings.literal("program", body)
        }
    }

    /// The arguments: the file's name, and the words that follow `args=`.
    func eachArgument(_ body: (UnsafePointer<CChar>, UInt64) -> Void) {
        eachName(body)
        if let text = CommandLine.value("args=") { LinuxStrings.words(text, body) }
    }

    /// The environment: what Linux gives its first process, and what `env=` says, once for each word.
    func eachVariable(_ body: (UnsafePointer<CChar>, UInt64) -> Void) {
        LinuxStrings.literal("HOME=/", body)
        LinuxStrings.literal("TERM=linux", body)
        var isOver = false
        guard let line = StartInfo.commandLine else { return }
        LinuxStrings.words(line) { word, size in
            if LinuxStrings.begins(word, "args=") { isOver = true }
            if !isOver && LinuxStrings.begins(word, "env=") { body(word + 4, size &- 4) }
        }
    }

    private static func literal(_ text: StaticString, _ body: (UnsafePointer<CChar>, UInt64) -> Void) {
        body(
            UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self),
            UInt64(text.utf8CodeUnitCount))
    }

    private static func begins(_ text: UnsafePointer<CChar>, _ word: StaticString) -> Bool {
        for index in 0..<word.utf8CodeUnitCount where UInt8(bitPattern: text[index]) != word.utf8Start[index] {
            return false
        }
        return true
    }

    private static func words(_ text: UnsafePointer<CChar>, _ body: (UnsafePointer<CChar>, UInt64) -> Void) {
        var at = 0
        while at < Contract.commandLineLimit && text[at] != 0 {
            var end = at
            while end < Contract.commandLineLimit && text[end] != 0 && text[end] != 0x20 { end &+= 1 }
            if end > at { body(text + at, UInt64(end &- at)) }
            at = text[end] == 0x20 ? end &+ 1 : end
        }
    }
}
