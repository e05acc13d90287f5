// A connection to libvirt and a domain, served to the `vitrine` at the other end of a socket.
//
//     {"ready":{...}}                          the domain, or the list of domains; or {"failure":{"status":3,"text":"..."}}
//     {"execute":...,"arguments":...,"id":N}   a command of the domain's monitor, passed on as it is
//     {"return":...,"id":N}                    its answer, or {"error":{...},"id":N}
//
// Three commands are its own: x-libvirt-memory-peek, x-libvirt-connect (with a descriptor), and qmp_capabilities, which does
// nothing.

import CLibvirt
import Glibc
import JSON
import SystemCalls

/// A session; ends when the other end closes, or with the domain.
final class Session {
    private let socket: FileDescriptor
    private let uri: String
    private let name: String?
    private var connection: virConnectPtr?
    private var domain: virDomainPtr?
    private var input: [UInt8] = []
    private var arrived: [Int32] = []

    /// - Parameters:
    ///   - uri: libvirt's; "" is its default.
    ///   - domain: a name, a UUID or an id; nil: only the list of domains is wanted.
    init(descriptor: Int32, uri: String, domain: String?) {
        socket = FileDescriptor(owning: descriptor)
        self.uri = uri
        name = domain
    }

    deinit {
        for number in arrived { close(number) }
        if let domain { virDomainFree(domain) }
        if let connection { virConnectClose(connection) }
    }

    /// Serves until the end; the exit status of the process.
    func run() -> Int32 {
        // libvirt writes its errors on standard error as well, which nobody reads.
        virSetErrorFunc(nil) { _, _ in }
        connection = uri.isEmpty ? virConnectOpen(nil) : virConnectOpen(uri)
        guard let connection else {
            let shown = uri.isEmpty ? "libvirt" : "libvirt at \(uri)"
            return fail(4, "\(shown) does not answer: \(Session.lastError)")
        }
        guard let name else {
            send(["ready": ["domains": .array(domains(connection))]])
            return 0
        }
        domain = lookUp(connection, name)
        guard let domain else { return fail(3, "libvirt has no domain '\(name)': \(Session.lastError)") }
        // The id came along: one question less.
        guard virDomainGetID(domain) != UInt32.max else {
            return fail(3, "the domain '\(name)' does not run; virsh start \(name) starts it")
        }
        let type = virConnectGetType(connection).map { String(cString: $0) } ?? ""
        guard type == "QEMU" else {
            return fail(4, "the domain '\(name)' is run by \(type): only domains of QEMU's driver can be looked into")
        }
        // Nil: libvirt's driver runs on this host.
        let host = virConnectGetURI(connection)
        let text = host.map { String(cString: $0) } ?? uri
        free(host)
        send([
            "ready": [
                "domain": .string(virDomainGetName(domain).map { String(cString: $0) } ?? name), "uri": .string(text),
                "local": .bool(Session.isLocal(text)),
            ]
        ])
        serve(domain)
        return 0
    }

    /// Whether a URI names no other host: `qemu:///system`, `qemu+unix:///session`.
    private static func isLocal(_ uri: String) -> Bool {
        guard let colon = uri.firstIndex(of: ":") else { return true }
        return uri[colon...].hasPrefix(":///")
    }

    private static var lastError: String {
        guard let error = virGetLastError(), let message = error.pointee.message else { return "no reason is known" }
        return String(cString: message)
    }

    private func lookUp(_ connection: virConnectPtr, _ name: String) -> virDomainPtr? {
        if let found = virDomainLookupByName(connection, name) { return found }
        if let found = virDomainLookupByUUIDString(connection, name) { return found }
        if let id = Int32(name), let found = virDomainLookupByID(connection, id) { return found }
        return virDomainLookupByName(connection, name)
    }

    private func domains(_ connection: virConnectPtr) -> [JSON] {
        var list: UnsafeMutablePointer<virDomainPtr?>?
        let count = virConnectListAllDomains(connection, &list, 0)
        guard count >= 0, let list else { return [] }
        defer { free(list) }
        var found: [JSON] = []
        for index in 0..<Int(count) {
            guard let domain = list[index] else { continue }
            defer { virDomainFree(domain) }
            var info = virDomainInfo()
            guard virDomainGetInfo(domain, &info) == 0 else { continue }
            let id = virDomainGetID(domain)
            found.append([
                "name": .string(virDomainGetName(domain).map { String(cString: $0) } ?? ""),
                "id": id == UInt32.max ? .null : JSON(id), "state": .string(Session.state(UInt32(info.state))),
                "memory": JSON(UInt64(info.maxMem) * 1024), "vcpus": JSON(info.nrVirtCpu),
            ])
        }
        return found.sorted { ($0["name"]?.text ?? "") < ($1["name"]?.text ?? "") }
    }

    private static func state(_ state: UInt32) -> String {
        switch state {
        case VIR_DOMAIN_RUNNING.rawValue: return "running"
        case VIR_DOMAIN_BLOCKED.rawValue: return "blocked"
        case VIR_DOMAIN_PAUSED.rawValue: return "paused"
        case VIR_DOMAIN_SHUTDOWN.rawValue: return "in shutdown"
        case VIR_DOMAIN_SHUTOFF.rawValue: return "shut off"
        case VIR_DOMAIN_CRASHED.rawValue: return "crashed"
        case VIR_DOMAIN_PMSUSPENDED.rawValue: return "pmsuspended"
        default: return "no state"
        }
    }

    // MARK: The conversation

    private func fail(_ status: Int32, _ text: String) -> Int32 {
        send(["failure": ["status": JSON(status), "text": .string(text)]])
        return status
    }

    /// Sends a line, whole.
    private func send(_ value: JSON) {
        var writer = JSONWriter()
        writer.value(value)
        writer.endLine()
        var done = 0
        while done < writer.bytes.count {
            let rest = Array(writer.bytes[done...])
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: rest.count, alignment: 1)
            defer { copy.deallocate() }
            copy.copyBytes(from: rest)
            do throws(Errno) {
                if let sent = try UnixSocket.send(socket, UnsafeRawBufferPointer(copy)) {
                    done += sent
                } else {
                    wait(POLLOUT)
                }
            } catch { return }
        }
    }

    private func wait(_ events: Int32) {
        var list = [pollfd(fd: socket.rawValue, events: Int16(events), revents: 0)]
        _ = try? waitForEvents(&list, milliseconds: -1)
    }

    /// The next line; nil at the end.
    private func nextLine() -> [UInt8]? {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            if let end = input.firstIndex(of: 10) {
                defer { input.removeFirst(end + 1) }
                return Array(input[..<end])
            }
            guard input.count < 1 << 20 else { return nil }
            do throws(Errno) {
                guard let (count, descriptors) = try UnixSocket.receive(socket, into: buffer) else {
                    wait(POLLIN)
                    continue
                }
                arrived += descriptors
                guard count > 0 else { return nil }
                input += Array(buffer[..<count])
            } catch { return nil }
        }
    }

    private func serve(_ domain: virDomainPtr) {
        while let line = nextLine() {
            guard let request = try? JSON.parse(line), let command = request["execute"]?.text else { return }
            let id = request["id"] ?? .null
            let answer: Answer
            switch command {
            case "qmp_capabilities": answer = .value(.object([]))
            case "x-libvirt-memory-peek": answer = peek(domain, request["arguments"])
            case "x-libvirt-connect": answer = connect(domain)
            default: answer = pass(domain, command, request["arguments"])
            }
            switch answer {
            case .value(let value): send(["return": value, "id": id])
            case .error(let error): send(["error": error, "id": id])
            // Nothing more can be asked: the other end sees the end.
            case .gone: return
            }
        }
    }

    private enum Answer {
        case value(JSON)
        case error(JSON)
        case gone
    }

    /// An error of libvirt's own; the domain's end is the end of the session.
    private func refusal(_ domain: virDomainPtr) -> Answer {
        let text = Session.lastError
        guard virDomainIsActive(domain) == 1 else { return .gone }
        return .error(["class": "GenericError", "desc": .string("libvirt: \(text)")])
    }

    /// Hands a command of QMP to the domain's monitor (virDomainQemuMonitorCommand).
    private func pass(_ domain: virDomainPtr, _ command: String, _ arguments: JSON?) -> Answer {
        var result: UnsafeMutablePointer<CChar>?
        guard virDomainQemuMonitorCommand(domain, Session.line(command, arguments), &result, 0) == 0, let result else {
            return refusal(domain)
        }
        defer { free(result) }
        return Session.answer(result)
    }

    private static func line(_ command: String, _ arguments: JSON?) -> String {
        var members = [JSONMember("execute", .string(command))]
        if let arguments { members.append(JSONMember("arguments", arguments)) }
        return JSON.object(members).encoded
    }

    private static func answer(_ text: UnsafePointer<CChar>) -> Answer {
        let bytes = Array(UnsafeRawBufferPointer(start: text, count: strlen(text)))
        guard let reply = try? JSON.parse(bytes, limits: JSONLimits(bytes: 64 << 20)) else {
            return .error(["class": "GenericError", "desc": "the domain's monitor answered with no JSON"])
        }
        if let value = reply["return"] { return .value(value) }
        return .error(reply["error"] ?? ["class": "GenericError", "desc": "the domain's monitor gave no answer"])
    }

    /// Hands the descriptor that came to the domain's monitor as a new connection (virDomainQemuMonitorCommandWithFiles).
    private func connect(_ domain: virDomainPtr) -> Answer {
        guard !arrived.isEmpty else { return .error(["class": "GenericError", "desc": "no descriptor came along"]) }
        var number = arrived.removeFirst()
        defer { close(number) }
        var result: UnsafeMutablePointer<CChar>?
        let line = Session.line("x-vitrine-connect", nil)
        guard virDomainQemuMonitorCommandWithFiles(domain, line, 1, &number, nil, nil, &result, 0) == 0, let result
        else {
            return refusal(domain)
        }
        defer { free(result) }
        return Session.answer(result)
    }

    /// Guest physical memory through libvirt (virDomainMemoryPeek), as hexadecimal digits.
    private func peek(_ domain: virDomainPtr, _ arguments: JSON?) -> Answer {
        guard let address = arguments?["address"]?.address, let size = arguments?["size"]?.int,
            (1...65536).contains(size)
        else { return .error(["class": "GenericError", "desc": "address and size are needed"]) }
        var buffer = [UInt8](repeating: 0, count: size)
        guard virDomainMemoryPeek(domain, address, size, &buffer, UInt32(VIR_MEMORY_PHYSICAL.rawValue)) == 0 else {
            return refusal(domain)
        }
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(size * 2)
        for byte in buffer {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return .value(.string(String(decoding: text, as: UTF8.self)))
    }
}
