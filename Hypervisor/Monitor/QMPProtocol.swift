// The words of QMP (QEMU's docs/interop/qmp-spec): greeting, replies, errors, events.

import GuestMemory
import JSON
import SystemCalls

/// An error as QMP has them.
public struct QMPError: Error, Sendable {
    /// `GenericError`, `CommandNotFound`, `DeviceNotFound`, ...
    public let errorClass: String
    /// What is wrong, for people.
    public let reason: String

    /// An error of the class that most have.
    public static func generic(_ reason: String) -> QMPError { QMPError(errorClass: "GenericError", reason: reason) }
    /// There is no such command, or not yet.
    public static func commandNotFound(_ reason: String) -> QMPError {
        QMPError(errorClass: "CommandNotFound", reason: reason)
    }

    /// The line that tells a client.
    func reply(id: JSON?) -> JSON {
        QMPMessage.withID([JSONMember("error", ["class": .string(errorClass), "desc": .string(reason)])], id)
    }
}

/// What a command gives back.
public enum QMPResult: Sendable {
    /// The value of `return`, and the descriptors that go with it.
    case value(JSON, [SharedDescriptor] = [])
    /// The answer comes later.
    case later

    /// Nothing but that it is done.
    public static let done = QMPResult.value(.object([]))
}

/// How the server presents itself: what differs between the products that speak through it.
public struct QMPFace: Sendable {
    /// Major, minor, micro.
    public var version: (Int, Int, Int)
    /// The package's name.
    public var package: String
    /// Whether it is to be taken for QEMU, by libvirt for instance.
    public var isQEMU: Bool

    /// As vitrine-vmm is seen.
    public static let vitrine = QMPFace(version: (0, 1, 0), package: "vitrine", isQEMU: false)
    /// As vitrine-qemu is seen: the version is that of the QEMU whose answers it gives.
    public static let qemu = QMPFace(version: (7, 2, 0), package: "vitrine-qemu 0.1.0", isQEMU: true)

    /// A face.
    public init(version: (Int, Int, Int), package: String, isQEMU: Bool) {
        self.version = version
        self.package = package
        self.isQEMU = isQEMU
    }

    /// What ends a line. libvirt waits for QEMU's.
    var lineEnd: [UInt8] { isQEMU ? [13, 10] : [10] }

    /// The commands that it has.
    var commands: [QMPCommand] {
        QMPCommand.common + QMPCommand.migration + QMPCommand.dumping + QMPCommand.vitrine + QMPCommand.debugging
            + (isQEMU ? QMPCommand.qemu : [])
    }

    /// The answer to `query-version`.
    var versionReply: JSON {
        [
            "qemu": ["major": JSON(version.0), "minor": JSON(version.1), "micro": JSON(version.2)],
            "package": .string(package),
        ]
    }

    /// The answer to `query-commands`.
    var commandsReply: JSON {
        let names = (commands.map(\.name) + ["qmp_capabilities"]).sorted()
        return .array(names.map { ["name": .string($0)] })
    }

    /// The first line that a client gets.
    var greeting: JSON { ["QMP": ["version": versionReply, "capabilities": []]] }
}

/// Lines of the protocol.
enum QMPMessage {
    static func withID(_ members: [JSONMember], _ id: JSON?) -> JSON {
        .object(id.map { members + [JSONMember("id", $0)] } ?? members)
    }

    static func success(_ value: JSON, id: JSON?) -> JSON { withID([JSONMember("return", value)], id) }

    /// An event with the time of now.
    static func event(_ name: String, _ data: JSON?) -> JSON {
        let now = wallMicroseconds()
        var members = [
            JSONMember("timestamp", ["seconds": JSON(now / 1_000_000), "microseconds": JSON(now % 1_000_000)]),
            JSONMember("event", .string(name)),
        ]
        if let data { members.append(JSONMember("data", data)) }
        return .object(members)
    }
}

/// The arguments of a command, each taken once; what nobody took is an error.
public struct QMPArguments {
    private var members: [JSONMember]

    init(_ value: JSON?) throws(QMPError) {
        guard let value else {
            members = []
            return
        }
        guard let members = value.members else { throw .generic("'arguments' must be an object") }
        self.members = members
    }

    private mutating func take(_ name: String) -> JSON? {
        guard let index = members.firstIndex(where: { $0.name == name }) else { return nil }
        return members.remove(at: index).value
    }

    /// A whole number within a range, or nil if it is not given.
    mutating func optionalInt(_ name: String, in range: Range<Int>) throws(QMPError) -> Int? {
        guard let value = take(name) else { return nil }
        guard let number = value.int, range.contains(number) else {
            throw .generic("'\(name)' must be a whole number from \(range.lowerBound) to \(range.upperBound - 1)")
        }
        return number
    }

    /// 64 bits as a whole number that must be given; libvirt writes those from 2^63 on as negative ones.
    mutating func bits(_ name: String) throws(QMPError) -> UInt64 {
        switch take(name) {
        case .integer(let number): return UInt64(bitPattern: number)
        case .unsigned(let number): return number
        default: throw .generic("'\(name)' must be a whole number")
        }
    }

    /// A whole number within a range; `fallback` if it is not given.
    mutating func int(_ name: String, in range: Range<Int>, default fallback: Int) throws(QMPError) -> Int {
        try optionalInt(name, in: range) ?? fallback
    }

    /// true or false, or nil if it is not given.
    mutating func optionalFlag(_ name: String) throws(QMPError) -> Bool? {
        guard let value = take(name) else { return nil }
        guard let flag = value.boolean else { throw .generic("'\(name)' must be true or false") }
        return flag
    }

    /// An object, or nil if it is not given.
    mutating func optionalObject(_ name: String) throws(QMPError) -> JSON? {
        guard let value = take(name) else { return nil }
        guard value.members != nil else { throw .generic("'\(name)' must be an object") }
        return value
    }

    /// A text, or nil if it is not given.
    mutating func optionalText(_ name: String) throws(QMPError) -> String? {
        guard let value = take(name) else { return nil }
        guard let text = value.text else { throw .generic("'\(name)' must be a text") }
        return text
    }

    /// A number from 0 to a million; `fallback` if it is not given.
    mutating func seconds(_ name: String, default fallback: Double) throws(QMPError) -> Double {
        guard let value = take(name) else { return fallback }
        guard let number = value.double, number >= 0, number <= 1_000_000 else {
            throw .generic("'\(name)' must be a number of seconds")
        }
        return number
    }

    /// A text that must be given.
    mutating func text(_ name: String) throws(QMPError) -> String {
        guard let value = take(name) else { throw .generic("'\(name)' is missing") }
        guard let text = value.text else { throw .generic("'\(name)' must be a text") }
        return text
    }

    /// A list of texts that must be given.
    mutating func texts(_ name: String) throws(QMPError) -> [String] {
        let elements = try list(name)
        let texts = elements.compactMap(\.text)
        guard texts.count == elements.count else { throw .generic("'\(name)' must be a list of texts") }
        return texts
    }

    /// A list of objects that must be given.
    mutating func objects(_ name: String) throws(QMPError) -> [JSON] {
        let elements = try list(name)
        guard elements.allSatisfy({ $0.members != nil }) else { throw .generic("'\(name)' must be a list of objects") }
        return elements
    }

    /// A list that must be given.
    mutating func list(_ name: String) throws(QMPError) -> [JSON] {
        guard let list = take(name)?.elements else { throw .generic("'\(name)' must be a list") }
        return list
    }

    /// An address, `"0x..."`, that must be given.
    mutating func address(_ name: String) throws(QMPError) -> UInt64 {
        guard let value = take(name) else { throw .generic("'\(name)' is missing") }
        guard let address = value.address else { throw .generic("'\(name)' must be an address, \"0x...\"") }
        return address
    }

    /// Refuses what nobody took.
    func end() throws(QMPError) {
        if let extra = members.first { throw .generic("'\(extra.name)' is unexpected") }
    }
}
