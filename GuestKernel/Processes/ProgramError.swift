// Why a program is not loaded.

/// What is wrong with a program's file, or what it needs and cannot have.
enum ProgramError: Error {
    case truncated(UInt64)
    case notELF
    case not64Bit
    case notLittleEndian
    case wrongMachine(UInt64)
    case notPositionIndependent(UInt64)
    case programHeaderSize(UInt64)
    case programHeadersOutsideFile
    case dynamicallyLinked
    case threadLocalStorage
    case noSegments
    case tooManySegments
    case segmentOutsideFile(UInt64)
    case segmentFileLargerThanMemory(UInt64)
    case segmentOverflows(UInt64)
    case segmentMisaligned(UInt64)
    case segmentsOverlap(UInt64)
    case tooLarge(UInt64)
    case entryOutsideCode(UInt64)
    case dynamicTable
    case relocationTable(UInt64)
    case relocationFormat(UInt64)
    case relocationType(UInt64)
    case relocationTarget(UInt64)
    case noModule(UInt64)
    case namespaceReserved
    case noSuchNamespace(UInt64)
    case namespaceTaken(UInt64)
    case noNamespaceLeft
    case addressTaken(UInt64)
    case noOwnSpace
    case tasksDoNotFork
    case tasksFromBootfs
    case tooManyPrograms
    case notRunning(UInt64)
    #if hasFeature(Embedded)
        /// What the address space answered: the kernel's alone.
        case memory(MemoryError)
    #endif

    /// What to say before the number the error carries, and after it.
    var text: (before: StaticString, number: UInt64?, decimal: Bool, after: StaticString) {
        switch self {
        case .truncated(let size): ("the file has ", size, true, " bytes, too few for an ELF header")
        case .notELF: ("not an ELF file", nil, false, "")
        case .not64Bit: ("not a 64-bit ELF file", nil, false, "")
        case .notLittleEndian: ("not a little-endian ELF file of version 1", nil, false, "")
        case .wrongMachine(let machine): ("built for machine ", machine, true, ", not for x86-64 (62)")
        case .notPositionIndependent(let type):
            ("ELF type ", type, true, ", not 3 (ET_DYN): build it with -static-pie")
        case .programHeaderSize(let size): ("program headers of ", size, true, " bytes, not 56")
        case .programHeadersOutsideFile: ("the program headers lie outside the file", nil, false, "")
        case .dynamicallyLinked: ("needs shared libraries: build it with -static-pie", nil, false, "")
        case .threadLocalStorage: ("has thread-local storage, which programs cannot have here", nil, false, "")
        case .noSegments: ("has no segment to load", nil, false, "")
        case .tooManySegments: ("has more than 16 segments to load", nil, false, "")
        case .segmentOutsideFile(let address): ("the segment at ", address, false, " lies outside the file")
        case .segmentFileLargerThanMemory(let address):
            ("the segment at ", address, false, " has more bytes in the file than in memory")
        case .segmentOverflows(let address): ("the segment at ", address, false, " goes beyond the address space")
        case .segmentMisaligned(let address):
            ("the segment at ", address, false, " lies elsewhere in its page than in the file's")
        case .segmentsOverlap(let address): ("the segment at ", address, false, " overlaps another")
        case .tooLarge(let end): ("ends at ", end, false, ", larger than 8 GiB")
        case .entryOutsideCode(let entry): ("the entry ", entry, false, " is in no executable segment")
        case .dynamicTable: ("the dynamic table lies outside the file or does not end", nil, false, "")
        case .relocationTable(let address): ("the relocation table at ", address, false, " lies outside the file")
        case .relocationFormat(let tag):
            ("relocations in the format of dynamic tag ", tag, true, "; only RELA is known")
        case .relocationType(let type):
            ("unknown relocation type ", type, true, "; only R_X86_64_RELATIVE (8) is known")
        case .relocationTarget(let address): ("the relocation at ", address, false, " is outside the writable segments")
        case .noModule(let module): ("no module ", module, true, "")
        case .namespaceReserved: ("namespace 0 is reserved and never handed out", nil, false, "")
        case .noSuchNamespace(let slot): ("no namespace ", slot, true, ": they are numbered 1 to 31")
        case .namespaceTaken(let slot): ("namespace ", slot, true, " is taken")
        case .noNamespaceLeft: ("no namespace is left: one program at 0x100000000000 and 31 namespaces", nil, false, "")
        case .addressTaken(let address): ("the range at ", address, false, " is mapped already")
        case .noOwnSpace: ("programs of this layout share one address space: they cannot fork", nil, false, "")
        case .tasksDoNotFork: ("tasks of this layout cannot fork: load their file again", nil, false, "")
        case .tasksFromBootfs:
            ("tasks of this layout come from the bootfs in its kernel, not from files of --program", nil, false, "")
        case .tooManyPrograms: ("process table full: 64 processes", nil, false, "")
        case .notRunning(let number): ("program ", number, true, " does not run")
        #if hasFeature(Embedded)
            case .memory(let error): (error.text, nil, false, "")
        #endif
        }
    }
}
