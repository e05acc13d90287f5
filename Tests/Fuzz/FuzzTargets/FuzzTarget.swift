// What reads bytes that others have made, each as a function of such bytes. libFuzzer runs them under `make fuzz`, the
// ordinary tests run them on the inputs that are kept (Tests/Fuzz/Corpus).
//
// A target that returns has found nothing. What it checks beyond "no crash" is a precondition.

/// A fuzz target.
public enum FuzzTarget: String, CaseIterable, Sendable {
    /// ELF cores, raw images, saved dumps: the file, its registers, its tables, and the same dump written and read again.
    case core
    /// `--filter EXPR`.
    case filter
    /// The walk over memory made of the input, in every format, against translations one by one.
    case walk
    /// The walk over memory that changes with every page that is read.
    case changing
    /// JSON texts, as QMP has them.
    case json
    /// What QEMU's human monitor and its debugger stub say.
    case monitor
    /// What a client says to vitrine-qemu's monitor.
    case qmp
    /// A command line in QEMU's words, one a line.
    case qemuCommandLine = "qemu-command-line"
    /// Saved guests: the file as it is, and as the contents of sections in a right frame.
    case savedGuest = "saved-guest"
    /// What GDB sends to the stub: a stream, and packets that are whole.
    case gdb
    /// What a guest answers to the commands of `vitrine exec`.
    case exec
    /// What a guest's monitor answers to our own client.
    case answers
    /// A kernel's ELF file.
    case kernel
    /// A program's ELF file, as the guest kernel reads it.
    case program
    /// /proc/PID/maps and /proc/kallsyms.
    case maps

    /// Feeds the target an input.
    public func run(_ input: UnsafeRawBufferPointer) {
        switch self {
        case .core: fuzzCore(input)
        case .filter: fuzzFilter(input)
        case .walk: fuzzWalk(input)
        case .changing: fuzzChangingMemory(input)
        case .json: fuzzJSON(input)
        case .monitor: fuzzMonitor(input)
        case .qmp: fuzzQMP(input)
        case .qemuCommandLine: fuzzQEMUCommandLine(input)
        case .savedGuest: fuzzSavedGuest(input)
        case .gdb: fuzzGDB(input)
        case .exec: fuzzExec(input)
        case .answers: fuzzAnswers(input)
        case .kernel: fuzzKernel(input)
        case .program: fuzzProgram(input)
        case .maps: fuzzMaps(input)
        }
    }
}
