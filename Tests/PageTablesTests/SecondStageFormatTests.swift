import Addresses
import GuestMemory
import PageTables
import Testing

@Suite struct EPTTests {
    let memory = TestMemory()
    var state = EPTState(pointer: 0x1000 | 6 | 3 << 3 | 1 << 6)

    init() {
        state.maxPhysicalAddressBits = 40
        memory[0x1000] = 0x2007
        memory[0x2000] = 0x3007
        memory[0x3000] = 0x4007
        memory[0x4000] = 0x5_5037
    }

    func translated(_ address: UInt64, _ state: EPTState? = nil) throws -> Translation {
        let state = state ?? self.state
        return translate(GVA(address), root: state.root, format: try #require(state.format), memory: memory)
    }

    @Test func thePointer() throws {
        #expect(state.levels == 4)
        #expect(state.root == GPA(0x1000))
        #expect(state.hasAccessedDirty)
        #expect(EPTState(pointer: 0x1000 | 4 << 3).levels == 5)
        #expect(EPTState(pointer: 0x1000 | 4 << 3).format?.virtualBits == 57)
        for length in [0, 1, 2, 5, 6, 7] as [UInt64] { #expect(EPTState(pointer: length << 3).format == nil) }
        #expect(try translated(0xabc).mapping?.gpa == GPA(0x5_5abc))
        #expect(try translated(0xabc).mapping?.flags.letters == "rwx")
        #expect(try translated(1 << 48).result == .nonCanonical)
    }

    /// All 8 permissions at every level: which are present, which are misconfigurations, and the AND of all.
    @Test(arguments: 1...4) func permissions(level: Int) throws {
        let at = [0x4000, 0x3000, 0x2000, 0x1000][level - 1] as UInt64
        for bits in 0..<8 as Range<UInt64> {
            memory[at] = memory[at] & ~7 | bits
            let result = try translated(0)
            switch bits {
            case 0: #expect(result.result == .notMapped(level: level, value: memory[at]))
            case 2, 6:
                guard case .reservedBits(level, bits: 7, mapping: _) = result.result else {
                    Issue.record("\(result.result)")
                    break
                }
                #expect(state.misconfigurations(of: memory[at], level: level) == [.writeWithoutRead])
            default:
                let letters = (bits & 1 != 0 ? "r" : "") + (bits & 2 != 0 ? "w" : "") + (bits & 4 != 0 ? "x" : "")
                #expect(result.mapping?.flags.letters == letters)
                #expect(state.misconfigurations(of: memory[at], level: level).isEmpty)
            }
        }
        var old = state
        old.executeOnly = false
        memory[at] = memory[at] & ~7 | 4
        #expect(try translated(0, old).mapping == nil)
        #expect(old.misconfigurations(of: memory[at], level: level) == [.executeOnlyUnsupported])
    }

    /// Nothing is left where one level allows reading only and another executing only: mapped all the same.
    @Test func nothingAllowed() throws {
        memory[0x1000] = 0x2001
        memory[0x4000] = 0x5_5034
        #expect(try translated(0).mapping?.flags == .noAccess)
        var collector = RunCollector()
        _ = walk(root: state.root, format: try #require(state.format), memory: memory, into: &collector)
        #expect(collector.runs.first?.isPresent == true)
    }

    @Test func memoryTypes() throws {
        for type in 0..<8 as Range<UInt64> {
            memory[0x4000] = 0x5_5007 | type << 3 | (type & 1) << 6
            let known = MemoryType(rawValue: UInt8(type))
            if [2, 3, 7].contains(type) {
                #expect(try translated(0).mapping == nil)
                #expect(state.misconfigurations(of: memory[0x4000], level: 1) == [.memoryType(UInt8(type))])
            } else {
                #expect(try translated(0).mapping != nil)
                #expect(EPTState.memoryType(ofLeaf: memory[0x4000])?.type == known)
                #expect(EPTState.memoryType(ofLeaf: memory[0x4000])?.ignoresPAT == (type & 1 == 1))
            }
        }
    }

    @Test func accessedAndDirty() throws {
        memory[0x4000] |= 0x300
        #expect(try translated(0).mapping?.flags.letters == "rwxad")
        var off = state
        off.pointer &= ~(1 << 6)
        #expect(try translated(0, off).mapping?.flags.letters == "rwx")
    }

    @Test func modeBasedExecution() throws {
        var state = state
        state.modeBasedExecute = true
        for (bits, executable, user, supervisor) in [
            (1, false, false, false), (5, true, true, false), (0x401, true, false, true), (0x405, true, false, false),
        ] as [(UInt64, Bool, Bool, Bool)] {
            memory[0x4000] = 0x5_5030 | bits
            for table in [0x1000, 0x2000, 0x3000] as [UInt64] { memory[table] |= 0x400 }
            let flags = try #require(try translated(0, state).mapping?.flags)
            #expect(flags.contains(.executable) == executable)
            #expect(flags.contains(.noUserExecute) == user)
            #expect(flags.contains(.noSupervisorExecute) == supervisor)
        }
        // User execution alone makes an entry present.
        memory[0x4000] = 0x5_5430
        #expect(try translated(0, state).mapping != nil)
        state.modeBasedExecute = false
        #expect(try translated(0, state).result == .notMapped(level: 1, value: 0x5_5430))
    }

    @Test func largePages() throws {
        var state = state
        memory[0x3008] = 0x60_00b7
        memory[0x2008] = 0x1_4000_00b7
        #expect(try translated(0x20_0042).mapping?.pageSize == 2 << 20)
        #expect(try translated(0x7fff_ffff).mapping?.gpa == GPA(0x1_7fff_ffff))
        state.gibibytePages = false
        #expect(try translated(0x4000_0000, state).result == .reservedBits(level: 3, bits: 0xb0, mapping: nil))
        for bit in 12...20 as ClosedRange<UInt64> {
            memory[0x3008] = 0x60_00b7 | 1 << bit
            #expect(state.misconfigurations(of: memory[0x3008], level: 2) == [.reservedBits(1 << bit)])
        }
    }

    /// Bits 6:3 of an entry that refers to a table, and address bits from MAXPHYADDR on.
    @Test(arguments: [3, 4, 5, 6, 40, 45, 51] as [UInt64]) func reservedInTables(bit: UInt64) throws {
        memory[0x2000] |= 1 << bit
        #expect(try translated(0).result == .reservedBits(level: 3, bits: 1 << bit, mapping: nil))
        #expect(state.misconfigurations(of: memory[0x2000], level: 3) == [.reservedBits(1 << bit)])
        #expect(state.misconfigurations(of: memory[0x2000] & ~7, level: 3).isEmpty)
    }

    @Test func names() throws {
        let format = try #require(state.format)
        let names = format.names(of: EPTBit.suppressVE | EPTBit.ignorePAT | 0x307, level: 1, isLeaf: true)
        #expect(names == ["R", "W", "X", "IPAT", "A", "D", "SVE"])
    }
}

@Suite struct NestedTests {
    let memory = TestMemory()
    let format = PageTableFormat.nested(.x86FourLevel(maxPhysicalAddressBits: 48))

    init() {
        memory[0x1000] = 0x2067
        memory[0x2000] = 0x3067
        memory[0x3000] = 0x4067
        memory[0x4000] = 0x5_5067
    }

    func translated(_ address: UInt64) -> Translation {
        translate(GVA(address), root: GPA(0x1000), format: format, memory: memory)
    }

    /// Every access of a guest counts as one of user mode.
    @Test func permissions() {
        #expect(translated(0x123).mapping?.flags.letters == "rwxad")
        memory[0x4000] = 0x8000_0000_0005_5067
        #expect(translated(0).mapping?.flags.letters == "rwad")
        memory[0x3000] = 0x4065
        #expect(translated(0).mapping?.flags.letters == "rad")
        memory[0x2000] = 0x3063
        #expect(translated(0).mapping?.flags == [.accessed, .dirty, .noAccess])
        #expect(translated(1 << 48).result == .nonCanonical)
        #expect(translated(0x8000_0000_0000).result == .notMapped(level: 4, value: 0))
    }

    @Test func namesSayWhatItIs() {
        #expect(format.name == "NPT 4-level")
        #expect(PageTableFormat.nested(.x86PAE()).virtualBits == 32)
    }
}

@Suite struct MemoryTypeTests {
    @Test func thePATAtReset() {
        #expect(
            (0..<8).map { PageAttributeTable.atReset.type(at: $0) } == [
                .writeBack, .writeThrough, .uncacheableMinus, .uncacheable,
                .writeBack, .writeThrough, .uncacheableMinus, .uncacheable,
            ])
        #expect(PageAttributeTable.atReset.type(at: 8) == nil)
        // Linux puts WC at 1 and WP at 5.
        let linux = PageAttributeTable(rawValue: 0x0407_0506_0007_0106)
        #expect(linux.type(of: .writeThrough) == .writeCombining)
        #expect(linux.type(of: [.writeThrough, .attributeTable]) == .writeProtected)
        #expect(PageAttributeTable(rawValue: 0x02).type(at: 0) == nil)
    }

    @Test func protectionKeys() {
        #expect(ProtectionKey.of(leaf: 0x7800_0000_0000_0067) == 15)
        let all: PageFlags = [.readable, .writable, .executable, .user]
        #expect(ProtectionKey.restrict(all, key: 1, register: 0x4) == [.executable, .user])
        #expect(ProtectionKey.restrict(all, key: 1, register: 0x8) == [.readable, .executable, .user])
        #expect(ProtectionKey.restrict(all, key: 0, register: 0xffff_fffc) == all)
    }

    @Test func softwareBits() {
        #expect(SoftwareBits.linux.names(of: 0x8000_0000_0000_0e01) == ["special", "uffd-wp", "soft-dirty"])
        #expect(SoftwareBits.linux.names(of: 0x100) == ["prot-none"])
        #expect(SoftwareBits.linux.names(of: 0x101).isEmpty)
        #expect(SoftwareBits.osv.names(of: 1 | 1 << 51 | 1 << 53) == ["prot-none", "cow"])
    }
}
