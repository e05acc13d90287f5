import Glibc
import GuestFolders
import SystemCalls
import TestSupport
import Testing

@Suite struct GuestFoldersTests {
    @Test func aNameIsTakenOnceAndFreeAgain() throws {
        let scratch = try TemporaryFolder()
        let folder = try RuntimeFolder(at: scratch.path + "/vitrine")
        let claimed = try folder.guest("a").claim()
        #expect(claimed.paths.pid() == getpid())
        #expect(throws: GuestFolderError.taken(name: "a", pid: getpid())) { try folder.guest("a").claim() }
        #expect(try folder.guests().map(\.name) == ["a"])
        claimed.release()
        #expect(try Files.names(in: folder.path) == [])
        try folder.guest("a").claim().release()
    }

    @Test func leftoversAreRemovedByListAndByClaim() throws {
        let scratch = try TemporaryFolder()
        let folder = try RuntimeFolder(at: scratch.path)
        for name in ["dead", "empty"] { try Files.makeFolder("\(scratch.path)/\(name)") }
        let dead = try folder.guest("dead")
        for file in ["lock", "qmp.sock", "pid", "log"] {
            try FileDescriptor(open: "\(dead.folder)/\(file)", O_CREAT | O_WRONLY).writeAll(Array("999999\n".utf8))
        }
        let claimed = try dead.claim()
        #expect(try folder.guests().map(\.name) == ["dead"])
        #expect(dead.pid() == getpid() && access(dead.log, F_OK) != 0)
        withExtendedLifetime(claimed) {}
        claimed.release()
        // The same again, found by a look at all of them.
        try Files.makeFolder(dead.folder)
        try FileDescriptor(open: "\(dead.folder)/lock", O_CREAT | O_WRONLY).writeAll([])
        #expect(try folder.guests() == [])
        #expect(try Files.names(in: scratch.path) == [])
    }

    @Test func foreignThingsAreLeftAlone() throws {
        let scratch = try TemporaryFolder()
        let folder = try RuntimeFolder(at: scratch.path)
        try Files.makeFolder(scratch.path + "/other")
        try FileDescriptor(open: scratch.path + "/other/file", O_CREAT | O_WRONLY).writeAll([1])
        #expect(try folder.guests() == [])
        #expect(access(scratch.path + "/other/file", F_OK) == 0)
        #expect(symlink("/tmp", scratch.path + "/link") == 0)
        #expect(try folder.guests() == [])
        #expect(throws: GuestFolderError.self) { try folder.guest("link").claim() }
    }

    @Test(arguments: ["", ".", "..", "a/b", "a b", "-a", "\u{e9}", String(repeating: "x", count: 65), "a\n"])
    func names(_ name: String) throws {
        #expect(throws: GuestFolderError.self) { try RuntimeFolder.checkName(name) }
    }

    @Test func untrustworthyFoldersAreRefused() throws {
        let scratch = try TemporaryFolder()
        try Files.makeFolder(scratch.path + "/open", mode: 0o700)
        chmod(scratch.path + "/open", 0o755)
        #expect(throws: GuestFolderError.self) { try RuntimeFolder(at: scratch.path + "/open") }
        #expect(symlink(scratch.path, scratch.path + "/link") == 0)
        #expect(throws: GuestFolderError.self) { try RuntimeFolder(at: scratch.path + "/link") }
        #expect(throws: GuestFolderError.self) { try RuntimeFolder(at: scratch.path + "/no/where") }
        if geteuid() == 0 {
            chmod(scratch.path + "/open", 0o700)
            chown(scratch.path + "/open", 12345, 12345)
            #expect(throws: GuestFolderError.self) { try RuntimeFolder(at: scratch.path + "/open") }
        }
    }

    @Test func aSocketPathHasItsLimit() throws {
        let scratch = try TemporaryFolder()
        let long = scratch.path + "/" + String(repeating: "x", count: 70)
        let folder = try RuntimeFolder(at: long)
        do {
            _ = try folder.guest("abcdefghijklmnop").claim()
            Issue.record("claimed")
        } catch {
            #expect(error.description.contains("107"))
        }
        rmdir(long)
    }

    /// Looks and claims at the same time: whoever gets the name has it alone, and a look never removes what is claimed.
    @Test func looksAndClaimsDoNotHitEachOther() async throws {
        let scratch = try TemporaryFolder()
        let path = scratch.path
        let folder = try RuntimeFolder(at: path)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<2 {
                group.addTask { for _ in 0..<300 { _ = try? folder.guests() } }
                group.addTask {
                    for _ in 0..<300 {
                        guard let claimed = try? folder.guest("x").claim() else { continue }
                        #expect(access(claimed.paths.pidFile, F_OK) == 0)
                        claimed.release()
                    }
                }
            }
        }
        _ = try folder.guests()
        #expect(try Files.names(in: path) == [])
    }
}
