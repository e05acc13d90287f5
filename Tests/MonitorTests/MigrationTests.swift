// A guest through descriptors: migrate, migrate-incoming, dump-guest-memory.

import Addresses
import GuestMemory
import Glibc
import JSON
import KVM
import Monitor
import Synchronization
import SystemCalls
import Targets
import Testing
import TestSupport

extension QMPClient {
    /// The data of the next event with this name.
    fileprivate func event(_ name: String, timeout: Double = 30) throws -> JSON? {
        while let event = try nextEvent(timeout: timeout) {
            if event.name == name { return event.data }
        }
        return nil
    }

    /// Waits for the end of a transfer: its last status.
    fileprivate func migrated() throws -> String? {
        while let status = try event("MIGRATION")?["status"]?.text {
            if status != "setup" && status != "active" { return status }
        }
        return nil
    }

    /// The class and text of the error that a command gives, or nil.
    fileprivate func refusal(_ command: String, _ arguments: [JSONMember] = []) -> String? {
        do throws(TargetError) {
            try execute(command, arguments)
            return nil
        } catch {
            guard case .refused(_, _, let reason) = error else { return nil }
            return reason
        }
    }
}

/// Reads a pipe to its end, on a thread of its own.
private final class Drain: Sendable {
    private let bytes = Guarded<(bytes: [UInt8], isOver: Bool)>(([], false))

    init(_ reading: consuming FileDescriptor) throws {
        let descriptor = SharedDescriptor(reading)
        let bytes = bytes
        _ = try HostThread(name: "drain", stackSize: 1 << 20) {
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 16)
            defer { buffer.deallocate() }
            while let count = try? descriptor.descriptor.read(into: buffer), count > 0 {
                bytes.update { $0.bytes += Array(buffer[..<count]) }
            }
            bytes.update { $0.isOver = true }
        }
    }

    /// Everything that came, once the other end was closed; nil if it is not within half a minute.
    func all() -> [UInt8]? { bytes.wait(nanoseconds: 30_000_000_000) { $0.isOver ? $0.bytes : nil } }
}

@Suite(.enabled(if: access("/dev/kvm", R_OK | W_OK) == 0, "needs /dev/kvm")) struct Migration {
    /// A guest goes out through a pipe and comes in through another; both go on.
    @Test func throughPipes() throws {
        let guest = try RunningGuest("m-out")
        defer { guest.end() }
        let client = try guest.readyClient()
        let pipe = try Pipe()
        let writing = try pipe.writing.duplicate()
        let drain = try Drain(pipe.takeReading())
        try client.execute("getfd", [JSONMember("fdname", "m")], descriptors: [writing.rawValue])
        close(writing.release())
        try client.execute("migrate", [JSONMember("uri", "fd:m")])
        #expect(try client.migrated() == "completed")
        let bytes = try #require(drain.all(), "the pipe was not closed")
        let status = try client.execute("query-migrate").value
        #expect(
            status["status"] == "completed" && status["ram"]?["transferred"]?.int == bytes.count, "\(status.encoded)")
        #expect(status["ram"]?["remaining"]?.int == 0 && status["ram"]?["total"]?.int == 64 << 20)
        #expect(try client.execute("query-status").value["status"] == "postmigrate")
        try client.execute("cont")
        #expect(try client.execute("query-status").value["status"] == "running")

        let other = try RunningGuest("m-in") { options in
            options.isIncoming = true
            options.staysPaused = true
        }
        defer { other.end() }
        let second = try other.client()
        #expect(try second.execute("query-status").value["status"] == "inmigrate")
        for command in ["cont", "system_reset"] {
            #expect(second.refusal(command)?.contains("not there yet") == true)
        }
        let back = try Pipe()
        let feed = try back.writing.duplicate()
        let source = back.takeReading()
        try second.execute("getfd", [JSONMember("fdname", "m")], descriptors: [source.rawValue])
        close(source.release())
        try second.execute("migrate-incoming", [JSONMember("uri", "fd:m")])
        // The monitor answers while it waits for bytes.
        #expect(try second.execute("query-migrate").value["status"] == "active")
        #expect(second.refusal("cont") != nil)
        try feed.writeAll(bytes)
        close(feed.release())
        #expect(try second.migrated() == "completed")
        #expect(try second.execute("query-status").value["status"] == "paused")
        #expect(try second.execute("x-vitrine-info").value["stage"] == "ready")
        try second.execute("cont")
        #expect(try second.execute("query-status").value["running"] == true)
        #expect(second.refusal("migrate-incoming", [JSONMember("uri", "fd:m")])?.contains("already") == true)
    }

    /// A client that goes between bringing a descriptor and using it leaves it to nobody: it is closed.
    @Test func descriptorsOfClientsThatAreGone() throws {
        let guest = try RunningGuest("m-gone")
        defer { guest.end() }
        let pipe = try Pipe()
        let writing = try pipe.writing.duplicate()
        let drain = try Drain(pipe.takeReading())
        do {
            let client = try guest.readyClient()
            try client.execute("getfd", [JSONMember("fdname", "m")], descriptors: [writing.rawValue])
        }
        close(writing.release())
        #expect(drain.all() == [])
        #expect(try guest.client().refusal("migrate", [JSONMember("uri", "fd:m")])?.contains("getfd") == true)
    }

    /// What is no guest is refused, and the process ends: it is neither one guest nor another.
    @Test func garbageComesIn() throws {
        let guest = try RunningGuest("m-bad") { $0.isIncoming = true }
        let client = try guest.client()
        let file = try FileDescriptor.sealedFile(named: "garbage", [UInt8](repeating: 7, count: 5000))
        try client.execute("getfd", [JSONMember("fdname", "m")], descriptors: [file.rawValue])
        try client.execute("migrate-incoming", [JSONMember("uri", "fd:m")])
        #expect(try client.migrated() == "failed")
        #expect(guest.status() == 2)
    }

    /// A reader that never reads is called off, and the guest goes on.
    @Test func cancelled() throws {
        let guest = try RunningGuest("m-cancel")
        defer { guest.end() }
        let client = try guest.readyClient()
        let pipe = try Pipe()
        // So that the pipe is full in any case.
        let filler = [UInt8](repeating: 0, count: 65536 - 64)
        try pipe.writing.writeAll(filler)
        try client.execute("getfd", [JSONMember("fdname", "m")], descriptors: [pipe.writing.rawValue])
        try client.execute("migrate", [JSONMember("uri", "fd:m")])
        #expect(client.refusal("cont")?.contains("migrate_cancel") == true)
        #expect(client.refusal("migrate", [JSONMember("uri", "fd:m")]) != nil)
        try client.execute("migrate_cancel")
        #expect(try client.migrated() == "cancelled")
        #expect(try client.execute("query-migrate").value["status"] == "cancelled")
        #expect(try client.execute("query-status").value["running"] == true)
    }

    @Test func wrongWordsAreRefused() throws {
        let guest = try RunningGuest("m-words")
        defer { guest.end() }
        let client = try guest.readyClient()
        func text(_ name: String, _ value: String) -> [JSONMember] { [JSONMember(name, .string(value))] }
        #expect(try client.execute("query-migrate").value == .object([]))
        #expect(client.refusal("getfd", text("fdname", "a"))?.contains("no descriptor") == true)
        #expect(client.refusal("closefd", text("fdname", "a"))?.contains("getfd") == true)
        #expect(client.refusal("migrate", text("uri", "fd:a"))?.contains("getfd") == true)
        #expect(client.refusal("migrate", text("uri", "exec:cat > /tmp/x"))?.contains("fd:NAME") == true)
        #expect(client.refusal("migrate", text("uri", "unix:/no/such/socket")) != nil)
        #expect(client.refusal("migrate-incoming", text("uri", "fd:a"))?.contains("-incoming") == true)
        func dump(_ more: [JSONMember]) -> String? { client.refusal("dump-guest-memory", more) }
        #expect(dump([JSONMember("paging", true), JSONMember("protocol", "fd:a")])?.contains("paging") == true)
        #expect(dump(text("protocol", "fd:a"))?.contains("getfd") == true)
        #expect(dump(text("protocol", "tcp:1"))?.contains("file:PATH") == true)
        #expect(dump(text("protocol", "file:/dev/full") + text("format", "kdump-zlib"))?.contains("elf") == true)
        #expect(dump(text("protocol", "file:/dev/full") + [JSONMember("begin", 0)])?.contains("begin") == true)
        #expect(dump(text("protocol", "file:/dev/full"))?.contains("No space left") == true)
        #expect(try client.execute("query-dump").value["status"] == "failed")
        #expect(try client.execute("query-status").value["running"] == true)
        let file = try FileDescriptor.sealedFile(named: "x", [1])
        let named = try? client.execute("getfd", text("fdname", "1a"), descriptors: [file.rawValue])
        #expect(named == nil)
    }

    /// Through a pipe goes what is not zero; a core of it says the same as one in a file.
    @Test func dumps() throws {
        let guest = try RunningGuest("m-dump")
        defer { guest.end() }
        let client = try guest.readyClient()
        try client.execute("stop")
        let pipe = try Pipe()
        let writing = try pipe.writing.duplicate()
        let drain = try Drain(pipe.takeReading())
        try client.execute("getfd", [JSONMember("fdname", "d")], descriptors: [writing.rawValue])
        close(writing.release())
        try client.execute(
            "dump-guest-memory",
            [JSONMember("paging", false), JSONMember("protocol", "fd:d"), JSONMember("detach", true)])
        let end = try #require(try client.event("DUMP_COMPLETED"))
        let bytes = try #require(drain.all(), "the pipe was not closed")
        #expect(end["result"]?["status"] == "completed" && end["result"]?["completed"]?.int == bytes.count)
        #expect(bytes.count < 8 << 20)
        #expect(try client.execute("query-dump-guest-memory-capability").value["formats"]?.elements == ["elf"])

        let folder = try TemporaryFolder()
        let (wholePath, streamPath) = (folder.path + "/whole", folder.path + "/stream")
        try client.execute(
            "dump-guest-memory", [JSONMember("paging", false), JSONMember("protocol", .string("file:" + wholePath))])
        #expect(try client.execute("query-status").value["running"] == false)
        let stream = try FileDescriptor(open: streamPath, O_WRONLY | O_CREAT)
        try stream.writeAll(bytes)
        let (whole, streamed) = (try CoreTarget(path: wholePath), try CoreTarget(path: streamPath))
        #expect(whole.slots.slots.map(\.guestPhysicalAddress) == streamed.slots.slots.map(\.guestPhysicalAddress))
        #expect(whole.slots.slots.map(\.size) == streamed.slots.slots.map(\.size))
        #expect(try whole.registers(vcpu: 0).cr3 == streamed.registers(vcpu: 0).cr3)
        for slot in whole.slots.slots {
            for offset in stride(from: 0, to: slot.size, by: 1 << 20) {
                let address = slot.guestPhysicalAddress &+ offset
                let count = Int(min(1 << 20, slot.size - offset))
                #expect(whole.memory.bytes(at: address, count: count) != nil)
                #expect(
                    whole.memory.bytes(at: address, count: count) == streamed.memory.bytes(at: address, count: count))
            }
        }
    }
}
