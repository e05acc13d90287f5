// libvirt's domains as targets: `libvirt:DOMAIN`, `libvirt:URI#DOMAIN`.
//
// Registers come from the domain's monitor. Memory comes the fastest way there is: by the descriptors of a vitrine-qemu, to
// which a connection of our own is handed through libvirt; out of QEMU's process where it runs here and may be read; else
// through libvirt, piece by piece.

import GuestMemory
import JSON
import SystemCalls

/// libvirt, as a target's source and as a list of domains.
public enum Libvirt {
    /// A domain in a list.
    public struct Domain: Sendable {
        /// Its name.
        public let name: String
        /// Its id; nil: it does not run.
        public let id: Int?
        /// libvirt's word: `running`, `shut off`.
        public let state: String
        /// The most memory it may have, in bytes.
        public let memory: UInt64
        /// The number of vCPUs.
        public let vcpus: Int
    }

    /// Every domain of a libvirt, by name.
    ///
    /// - Parameter uri: "" is libvirt's default.
    public static func domains(uri: String) throws(TargetError) -> [Domain] {
        let session = try LibvirtSession(uri: uri, domain: nil, name: "libvirt")
        return (session.ready["domains"]?.elements ?? []).map { domain in
            Domain(
                name: domain["name"]?.text ?? "", id: domain["id"]?.int, state: domain["state"]?.text ?? "",
                memory: domain["memory"]?.uint64 ?? 0, vcpus: domain["vcpus"]?.int ?? 0)
        }
    }

    /// The domain that a text names, without `libvirt:` before it.
    static func open(_ text: String) throws(TargetError) -> any Target {
        let name = try LibvirtName(text)
        let shown = "libvirt:" + text
        let session = try LibvirtSession(uri: name.uri, domain: name.domain, name: shown)
        let version = try session.client.execute("query-version").value
        guard version["package"]?.text?.hasPrefix("vitrine") == true else {
            return try QEMUTarget(session, name: shown, layout: nil)
        }
        // To another host libvirt hands no descriptors on, and a connection by ssh that is asked to is closed by libvirt.
        if session.isLocal, let own = try connect(session, shown) { return own }
        let layout = try session.client.execute("x-vitrine-info").value["layout"]?.text
        return try QEMUTarget(session, name: shown, layout: layout)
    }

    /// A connection of our own to a vitrine-qemu; nil if libvirt hands no descriptors on.
    private static func connect(_ session: LibvirtSession, _ name: String) throws(TargetError) -> OwnGuest? {
        let pair = try socketPair()
        do throws(TargetError) {
            try session.client.execute("x-libvirt-connect", descriptors: [pair.second.rawValue])
        } catch {
            guard case .refused = error else { throw error }
            return nil
        }
        let own = pair.takeFirst()
        return try OwnGuest(client: QMPClient(socket: own, name: name), source: "descriptors through libvirt")
    }

    private static func socketPair() throws(TargetError) -> SocketPair {
        do throws(Errno) { return try UnixSocket.pair() } catch { throw .call(error) }
    }
}
