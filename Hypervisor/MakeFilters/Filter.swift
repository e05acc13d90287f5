// A list of allowed system calls as a program that the kernel runs before each (seccomp(2)), made by libseccomp.

import CSeccomp
import CallLists
import Glibc
import SystemCalls

/// A filter of system calls: classic BPF.
struct Filter {
    /// Its instructions, each as the 8 bytes of a struct sock_filter.
    let program: [UInt64]

    /// Makes the filter of a list; a call that is not on it raises SIGSYS.
    init(_ calls: [AllowedCall]) throws(Errno) {
        guard let context = seccomp_init(vitrine_seccomp_trap) else {
            throw Errno(ENOMEM, "seccomp_init")
        }
        defer { seccomp_release(context) }
        func check(_ what: String, _ result: Int32) throws(Errno) {
            if result < 0 { throw Errno(-result, what) }
        }
        // Calls of other processor modes (32 bits, x32) have other numbers: whoever makes one is not this program.
        try check("seccomp_attr_set", seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, vitrine_seccomp_kill_process))
        // A tree by the numbers of the calls. The kernel runs a filter once for every call when it is installed, to know which are allowed
        // whatever their arguments: down a list that would take longer than everything else about it.
        try check("seccomp_attr_set", seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2))
        for call in calls {
            let alternatives = call.alternatives.isEmpty ? [[]] : call.alternatives
            for conditions in alternatives {
                let compared = conditions.map { condition in
                    scmp_arg_cmp(
                        arg: condition.argument, op: SCMP_CMP_MASKED_EQ, datum_a: condition.mask,
                        datum_b: condition.value)
                }
                try check(
                    "seccomp_rule_add \(call.name)",
                    seccomp_rule_add_array(
                        context, vitrine_seccomp_allow, call.number, UInt32(compared.count), compared))
            }
        }
        // The program has some hundred instructions of 8 bytes, less than a pipe holds.
        let pipe = try Pipe()
        try check("seccomp_export_bpf", seccomp_export_bpf(context, pipe.writing.rawValue))
        let reading = pipe.takeReading()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 8)
        defer { buffer.deallocate() }
        var count = 0
        while true {
            let part = try reading.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[count...]))
            if part == 0 { break }
            count += part
        }
        program = Array(UnsafeRawBufferPointer(rebasing: buffer[..<count]).bindMemory(to: UInt64.self))
    }
}
