// `vitrine-witness`: what the tests and the hardware bench ask the kernel itself, and VMs that no monitor would make.
// Status 0: it is so; 1: it is not; 2: wrong usage; 4: this host cannot.

import Glibc

let usage = """
    usage: vitrine-witness translations NAME [vCPU]    a guest's tables against KVM_TRANSLATE, range by range
           vitrine-witness replay PID TRACE            the events kvm_tdp_mmu_spte_changed of TRACE against KVM's tables
           vitrine-witness programs                    the BPF programs and maps that are loaded, a line each
           vitrine-witness refused                     whether confined threads are refused what is not on their lists
           vitrine-witness without N,N... COMMAND...   runs a command without these capabilities (linux/capability.h)
           vitrine-witness hold [WORD=N]...            holds VMs until it is ended: vms=1 slots=1 pages=1 (of each slot),
                                                       shared=0 (1: every slot is the same memory), touch=0 (1: all of it is
                                                       written), run=0 (1: a vCPU writes all pages of its first MiB again
                                                       and again), churn=0 (1: a slot is deleted and made again and again)

    """

var words = Array(CommandLine.arguments.dropFirst())
let verb = words.isEmpty ? "" : words.removeFirst()
switch (verb, words.count) {
case ("translations", 1...2): exit(witnessTranslations(of: words[0], vcpu: words.count > 1 ? Int(words[1]) ?? -1 : 0))
case ("replay", 2): exit(witnessReplay(process: Int32(words[0]) ?? -1, trace: words[1]))
case ("programs", 0): exit(listPrograms())
case ("refused", 0): exit(witnessRefused())
case ("without", 2...): runWithout(words[0], Array(words.dropFirst()))
case ("hold", _): exit(hold(words))
default: leave(2, usage)
}

/// Ends with a message.
func leave(_ status: Int32, _ message: String) -> Never {
    put(message.hasSuffix("\n") ? message : "vitrine-witness: \(message)\n", to: STDERR_FILENO)
    exit(status)
}

/// Prints a line at once.
func say(_ line: String) { put(line + "\n", to: STDOUT_FILENO) }

private func put(_ text: String, to file: Int32) { _ = text.withCString { write(file, $0, strlen($0)) } }
