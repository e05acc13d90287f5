// Which page tables a guest of vitrine-vmm writes, told by its monitor.

import Addresses
import GuestMemory
import JSON

/// What a guest's monitor tells of its page tables.
public enum TableNotice: Sendable {
    /// These pages of the arena were written.
    case written([GPA])
    /// The vCPU that is followed may use other tables.
    case rootChanged
    /// The guest was reset or reached another boot stage: everything may be different.
    case everything
    /// The guest ended; why, in the monitor's words.
    case ended(String)
}

extension OwnGuest {
    /// Asks the guest's monitor to tell from now on which pages of the page-table arena are written, and when a vCPU uses
    /// other tables (`x-vitrine-watch-tables`). It does so until the connection ends.
    ///
    /// - Parameter vcpu: the vCPU whose root matters; nil: none.
    /// - Returns: the arena, or nil if the guest has none: then nothing is told of tables.
    public func watchTables(vcpu: Int?) throws(TargetError) -> ClosedRange<GPA>? {
        let reply = try client.execute(
            "x-vitrine-watch-tables", vcpu.map { [JSONMember("vcpu", JSON($0))] } ?? [])
        guard let arena = reply.value["arena"], arena != .null else { return nil }
        guard let gpa = arena["gpa"]?.address, let size = arena["size"]?.uint64, size > 0,
            let last = GPA(gpa).advanced(by: size - 1)
        else { throw .badAnswer("an arena without gpa and size") }
        return GPA(gpa)...last
    }

    /// What has been told; nothing is waited for.
    public func tableNotices() throws(TargetError) -> [TableNotice] {
        var notices: [TableNotice] = []
        while true {
            let event: QMPEvent
            do throws(TargetError) {
                guard let next = try client.nextEvent(timeout: 0) else { return notices }
                event = next
            } catch {
                // What was told last says why the connection ended.
                if notices.contains(where: { if case .ended = $0 { true } else { false } }) { return notices }
                throw error
            }
            switch event.name {
            case "X_VITRINE_TABLES":
                if let failure = event.data["failure"]?.text { throw .unable(failure) }
                if event.data["root-changed"]?.boolean == true { notices.append(.rootChanged) }
                let ranges = event.data["written"]?.elements ?? []
                if !ranges.isEmpty { notices.append(.written(try OwnGuest.pages(ranges))) }
            case "RESET", "X_VITRINE_STAGE": notices.append(.everything)
            case "SHUTDOWN": notices.append(.ended(event.data["reason"]?.text ?? "shutdown"))
            default: break
            }
        }
    }

    private static func pages(_ ranges: [JSON]) throws(TargetError) -> [GPA] {
        var pages: [GPA] = []
        for range in ranges {
            guard let gpa = range["gpa"]?.address, let size = range["size"]?.uint64, size <= 1 << 40 else {
                throw .badAnswer("written tables without gpa and size")
            }
            var offset: UInt64 = 0
            while offset < size, pages.count < 1 << 24 {
                pages.append(GPA(gpa) &+ offset)
                offset += 4096
            }
        }
        return pages
    }
}
