// A program's thread and stack.
//
//     base + 8 GiB - 4 KiB    start page (ring 3 only, read and execute): what the entry returns to, and the argument text
//     base + 8 GiB - 8 KiB    nothing
//                             stack, 256 KiB, comes on touch
//                             nothing

/// Starts loaded programs.
enum ProgramStart {
    private static var stackSize: UInt64 { 256 << 10 }
    /// Where the argument text begins in the start page, behind the code.
    private static var argumentOffset: UInt64 { 64 }
    /// Where SIZE stands in the start page.
    private static var sizeOffset: UInt64 { 48 }

    /// Whether programs run in ring 3: in osv by `ring=3` on the command line, else always.
    static var inRing3: Bool { Plan.current.name != .osv || CommandLine.number("ring=") == 3 }

    /// Makes the stack and the thread of a program, in the calling thread's address space.
    static func prepare(_ number: Int, at base: UInt64, entry: UInt64) throws(ProgramError) -> Thread.Pointer {
        let top = base &+ Plan.current.programSize &- 8192
        let page = base &+ Plan.current.programSize &- 4096
        let user = inRing3
        if Break.at("processes-memory") {
            _ = try? AddressSpace.current.pointee.map(
                at: nil, size: 4096, protection: .read, program: Int32(truncatingIfNeeded: number))
        }
        do throws(MemoryError) {
            _ = try AddressSpace.current.pointee.map(
                at: top &- stackSize, size: stackSize, protection: [.read, .write],
                kind: Plan.current.name == .osv ? .program : .stack,
                program: Int32(truncatingIfNeeded: number))
        } catch {
            throw error == .overlap ? .addressTaken(top &- stackSize) : .memory(error)
        }
        do throws(MemoryError) {
            // As if called: the return address is on the stack, 16-byte aligned less 8.
            guard probe_write(top &- 8, user ? page : address_of_program_returned()) == 0 else { throw .outOfMemory }
            if user { try makeStartPage(page, Int32(truncatingIfNeeded: number)) }
        } catch {
            try? AddressSpace.current.pointee.unmap(top &- stackSize, size: stackSize)
            throw error == .overlap ? .addressTaken(page) : .memory(error)
        }
        do throws(MemoryError) {
            let thread: Thread.Pointer
            if user {
                thread = try Thread.makeRing3(
                    name: "program", entry: entry, argument: 0, second: page &+ argumentOffset, stack: top &- 8,
                    program: Int32(truncatingIfNeeded: number))
            } else {
                thread = try Thread.make(
                    name: "program", entry: entry, argument: address_of_program_services(),
                    second: UInt64(UInt(bitPattern: argument)), stack: top,
                    program: Int32(truncatingIfNeeded: number))
            }
            thread.pointee.space = UnsafeMutableRawPointer(AddressSpace.current)
            if Plan.current.name == .oscInitial {
                thread.pointee.gs_base = base &- Break.baseError
            }
            return thread
        } catch {
            if user { try? AddressSpace.current.pointee.unmap(page, size: 4096) }
            try? AddressSpace.current.pointee.unmap(top &- stackSize, size: stackSize)
            throw .memory(error)
        }
    }

    /// The page with the code that an entry in ring 3 returns to, and the argument text: low memory, where ring 3 reaches it.
    private static func makeStartPage(_ page: UInt64, _ number: Int32) throws(MemoryError) {
        _ = try AddressSpace.current.pointee.map(
            at: page, size: 4096, protection: [.read, .write], kind: .program, program: number)
        do throws(MemoryError) {
            let code = address_of_user_start()
            guard probe_copy(page, code, address_of_user_start_end() &- code) == 0 else { throw .outOfMemory }
            let text = argument
            var index: UInt64 = 0
            while index < 4095 &- argumentOffset, text[Int(index)] != 0 { index &+= 1 }
            // SIZE, for programs whose addresses are offsets: what their runtime compares an address with.
            let size = Plan.current.programSize &* (Break.at("access-at-size") ? 2 : 1)
            guard probe_write(page &+ sizeOffset, size) == 0 else { throw .outOfMemory }
            // What the accessors of a wrong base compare with, 64 KiB lower: in the stack.
            if Break.baseError != 0, probe_write(page &+ sizeOffset &- Break.baseError, size) != 0 {
                throw .outOfMemory
            }
            // What follows the text is zero already: its end.
            guard probe_copy(page &+ argumentOffset, UInt64(UInt(bitPattern: text)), index) == 0 else {
                throw .outOfMemory
            }
            try AddressSpace.current.pointee.protect(page, size: 4096, protection: [.read, .execute])
        } catch {
            try? AddressSpace.current.pointee.unmap(page, size: 4096)
            throw error
        }
    }

    /// The argument text: what follows `args=` up to the end of the command line.
    private static var argument: UnsafePointer<CChar> {
        CommandLine.value("args=") ?? empty_text()
    }
}
