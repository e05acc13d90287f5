// The helper that speaks with libvirt: `vitrine-libvirt`, started for a target `libvirt:DOMAIN` and ended with it.
//
//     vitrine --socket--> vitrine-libvirt --libvirt's C API--> libvirtd --> the domain's monitor

import Glibc
import GuestMemory
import JSON
import SystemCalls

/// What a text `libvirt:...` names.
public struct LibvirtName: Equatable, Sendable {
    /// libvirt's URI; "" is its default.
    public let uri: String
    /// The domain's name, UUID or id.
    public let domain: String

    /// `DOMAIN` or `URI#DOMAIN`, without `libvirt:`.
    public init(_ text: String) throws(TargetError) {
        if let hash = text.lastIndex(of: "#") {
            uri = String(text[..<hash])
            domain = String(text[text.index(after: hash)...])
        } else {
            uri = ""
            domain = text
        }
        guard !domain.isEmpty else {
            throw .input("libvirt:\(text): a domain is needed, as libvirt:web or libvirt:qemu:///system#web")
        }
    }
}

/// A running vitrine-libvirt. It ends when this goes away.
final class LibvirtSession: Sendable {
    /// What it said first.
    let ready: JSON
    /// Whether libvirt's driver runs on this host.
    var isLocal: Bool { ready["local"]?.boolean ?? false }
    /// The connection to it, which speaks as a QMP server does.
    let client: QMPClient

    /// How long a URI may take to answer, in seconds.
    private static let patience = 15.0

    /// Starts the helper and waits until it has the domain, or the list of domains if there is none to look for.
    init(uri: String, domain: String?, name: String) throws(TargetError) {
        let program = try LibvirtSession.program()
        do throws(Errno) {
            let pair = try UnixSocket.pair()
            let child: ChildProcess
            do {
                // It waits for nothing that is not there, and blocks in libvirt anyway.
                let other = try pair.second.duplicate()
                var words = ["vitrine-libvirt", "--fd", "\(other.rawValue)", uri]
                if let domain { words.append(domain) }
                child = try ChildProcess(path: program, arguments: words, keeping: other)
            }
            let own = try pair.first.duplicate()
            let first = LibvirtSession.firstLine(consume pair, seconds: LibvirtSession.patience)
            guard let first else {
                _ = try ChildProcess.signal(child.pid, SIGKILL)
                _ = try child.wait()
                throw Errno(ETIMEDOUT, "")
            }
            guard !first.isEmpty else {
                _ = try child.wait()
                throw Errno(ELIBACC, "")
            }
            guard let message = try? JSON.parse(first) else { throw Errno(EPROTO, "vitrine-libvirt") }
            if let failure = message["failure"] {
                _ = try child.wait()
                throw Errno(failure["status"]?.int == 3 ? ESRCH : EIO, failure["text"]?.text ?? "")
            }
            ready = message["ready"] ?? .null
            client = QMPClient(socket: own, name: name)
        } catch {
            throw LibvirtSession.explain(error, uri)
        }
    }

    private static func explain(_ error: Errno, _ uri: String) -> TargetError {
        let shown = uri.isEmpty ? "libvirt" : "libvirt at \(uri)"
        switch error.code {
        case ETIMEDOUT: return .unable("\(shown) does not answer within \(Int(patience)) s")
        case ELIBACC:
            return .unable(
                "vitrine-libvirt ended at its start: libvirt's library is not installed "
                    + "(Debian: apt-get install libvirt0)")
        case ESRCH: return .noSuchTarget(error.call)
        case EIO: return .unable(error.call)
        default: return .call(error)
        }
    }

    /// vitrine-libvirt: beside this program, or in PATH.
    private static func program() throws(TargetError) -> String {
        var folders: [String] = []
        if let own = Files.link("/proc/self/exe"), let slash = own.lastIndex(of: "/") {
            folders.append(String(own[..<slash]))
        }
        let search = getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin"
        folders += search.split(separator: ":").map(String.init)
        for folder in folders where access(folder + "/vitrine-libvirt", X_OK) == 0 {
            return folder + "/vitrine-libvirt"
        }
        throw .unable(
            "vitrine-libvirt is neither beside vitrine nor in PATH: libvirt's domains need it; Vitrine's package has "
                + "it, and make builds it (Debian: apt-get install libvirt-dev)")
    }

    /// The helper's first line; empty if it ended without one, nil if the time is over. It says no more until it is asked. The other
    /// end of the pair is closed here, so that the helper's end is seen.
    private static func firstLine(_ pair: consuming SocketPair, seconds: Double) -> [UInt8]? {
        let own = pair.takeFirst()
        let deadline = monotonicNanoseconds() &+ UInt64(seconds * 1e9)
        var line: [UInt8] = []
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 1)
        defer { buffer.deallocate() }
        while true {
            let now = monotonicNanoseconds()
            guard now < deadline else { return nil }
            var list = [pollfd(fd: own.rawValue, events: Int16(POLLIN), revents: 0)]
            _ = try? waitForEvents(&list, milliseconds: Int32(clamping: (deadline - now) / 1_000_000 + 1))
            // The list of domains is the longest.
            do throws(Errno) {
                guard let (count, _) = try UnixSocket.receive(own, into: buffer) else { continue }
                guard count > 0, line.count < 16 << 20 else { return [] }
                line += buffer[..<count]
            } catch { return [] }
            if line.last == 10 { return Array(line.dropLast()) }
        }
    }
}
