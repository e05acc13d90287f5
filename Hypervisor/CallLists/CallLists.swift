// Which system calls each kind of thread may make once the guest runs. Numbers: asm/unistd_64.h.
//
// Each list is what the threads of that role were seen to make (Tests/EndToEndTests/SandboxTests.swift runs the verbs under
// strace and compares), with what a C library does on other hosts, where `rare` says so. No list has execve, fork, socket,
// connect, bind, ptrace, mount, bpf, setns or anything that makes code executable; only `transfer` may open a file, and only if
// the guest was started with something to be written.

import Glibc
import SystemCalls

extension AllowedCall {
    /// The list of a role.
    ///
    /// - Parameter opensFiles: whether the guest may come to write a file that is not open yet (`--core-on-panic`; `pmemsave` of
    ///   libvirt's memory peek). Where the kernel has Landlock, that says which.
    public static func list(of role: ThreadRole, opensFiles: Bool = true) -> [AllowedCall] {
        switch role {
        case .vcpu: return every + vcpu
        case .control: return every + control
        case .transfer: return every + transfer + (opensFiles ? files : [])
        case .watch: return every + watch
        }
    }

    private static let notExecutable = [ArgumentCondition.lacks(2, UInt64(PROT_EXEC))]

    /// Any thread: memory, locks, signals, its end.
    private static let every: [AllowedCall] = [
        AllowedCall("futex", 202, "locks and conditions"),
        AllowedCall("gettid", 186, "the owner of a lock (Swift's Mutex)"),
        AllowedCall(
            "tgkill", 234, "kicks a vCPU out of KVM_RUN", arguments: "this process, SIGRTMIN + 1 (the kick)",
            only: [[.is(0, AllowedCall.thisProcess), .is(2, 35)]], rare: "only to vCPUs that run"),
        AllowedCall(
            "mmap", 9, "memory for the heap", arguments: "without PROT_EXEC", only: [notExecutable],
            rare: "only when the heap is full"),
        AllowedCall(
            "mprotect", 10, "the heap grows", arguments: "without PROT_EXEC", only: [notExecutable],
            rare: "only when the heap is full"),
        AllowedCall("munmap", 11, "memory goes back", rare: "the heap of a small guest stays"),
        AllowedCall("brk", 12, "the first heap grows and shrinks", rare: "other heaps are used as well"),
        AllowedCall("mremap", 25, "a large piece of the heap grows", rare: "only large buffers"),
        AllowedCall("madvise", 28, "memory goes back; a thread's stack at its end"),
        AllowedCall(
            "sched_getaffinity", 204, "how many heaps there may be (malloc)",
            rare: "only when a ninth thread takes memory"),
        AllowedCall("rt_sigprocmask", 14, "a thread ends with signals held back", rare: "not on the thread of main"),
        AllowedCall("rt_sigreturn", 15, "the return from a kick", rare: "only a thread that is kicked"),
        AllowedCall("restart_syscall", 219, "a wait goes on after a debugger looked", rare: "only under a debugger"),
        AllowedCall("clock_gettime", 228, "the time", rare: "only where the vDSO has no clock"),
        AllowedCall("exit", 60, "a thread's end", rare: "not on the thread of main"),
        AllowedCall("exit_group", 231, "the process's end", rare: "on the thread of main alone"),
    ]

    private static let vcpu: [AllowedCall] = [
        .ioctl(
            [Requests.run] + Requests.fromPorts + Requests.vcpuState + Requests.setVCPUState,
            "the guest runs; its state is read and written between two instructions"),
        AllowedCall("write", 1, "wakes the control thread (eventfd)"),
        AllowedCall("pread64", 17, "KVM's statistics: how many instructions a stage took"),
    ]

    private static let watch: [AllowedCall] = [
        .ioctl([Requests.dirtyLog], "which page tables the guest wrote"),
        AllowedCall("write", 1, "wakes the control thread (eventfd)", rare: "only if there is something to tell"),
        AllowedCall("pread64", 17, "KVM's statistics: whether every vCPU waits"),
        AllowedCall("poll", 7, "waits until a vCPU begins to run"),
        AllowedCall(
            "perf_event_open", 298, "reports when a vCPU begins to run, so that nobody has to poll",
            arguments: "one thread, any processor, no group",
            only: [[.is(2, UInt64.max), .is(3, UInt64.max), .is(4, 8)]]),
        AllowedCall("close", 3, "those reports"),
    ]

    private static let transfer: [AllowedCall] = [
        .ioctl(
            [Requests.run] + Requests.fromPorts + Requests.vcpuState + Requests.setVCPUState + Requests.machineState,
            "the state of a machine that stands, saved or restored"),
        AllowedCall("read", 0, "a guest that is restored", rare: "only a guest that libvirt restores"),
        AllowedCall("write", 1, "a guest that is saved, a core"),
        AllowedCall("lseek", 8, "what of the guest's memory was ever touched; holes in a core"),
        AllowedCall("pread64", 17, "KVM's statistics, in what is saved"),
        AllowedCall("poll", 7, "waits for who reads or writes the other end"),
        AllowedCall("ftruncate", 77, "a core that ends in a hole"),
        AllowedCall("newfstatat", 262, "whether it goes into a file or a pipe"),
        AllowedCall("fcntl", 72, "not to wait for the other end", arguments: fcntlText, only: fcntlCommands),
        AllowedCall(
            "fallocate", 285, "memory reads as zeros before it is filled", arguments: "FALLOC_FL_PUNCH_HOLE",
            only: [[.is(1, 3)]], rare: "only a guest that libvirt restores"),
        AllowedCall("clock_nanosleep", 230, "a transfer with a speed limit", rare: "without one nobody sleeps"),
        AllowedCall("close", 3, "what it was written to"),
    ]

    /// Files that are made when they are needed.
    private static let files: [AllowedCall] = [
        AllowedCall("openat", 257, "the core of --core-on-panic; a memory peek of libvirt's"),
        AllowedCall("readlink", 89, "where the name of the core leads"),
        AllowedCall("linkat", 265, "the core gets its name when it is whole"),
        AllowedCall("rename", 82, "a core that replaces one", rare: "only if there was one"),
        AllowedCall("getpid", 39, "part of the name it has before", rare: "only if there was one"),
        AllowedCall("fchmod", 91, "it keeps that one's permissions", rare: "only if there was one"),
        AllowedCall("unlink", 87, "a core that could not be written", rare: "only if it fails"),
    ]

    private static let fcntlText = "F_SETFD F_GETFL F_SETFL F_DUPFD_CLOEXEC F_ADD_SEALS"
    private static let fcntlCommands = [F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, 1033].map { command in
        [ArgumentCondition.is(1, UInt64(UInt32(bitPattern: command)))]
    }

    private static let control: [AllowedCall] = [
        .ioctl(
            [Requests.run] + Requests.fromPorts + Requests.vcpuState + Requests.setVCPUState + Requests.machineState
                + [Requests.setSlot, Requests.statistics, Requests.terminalMode],
            "typed characters raise an interrupt; resets; vCPUs that have ended are looked at; the terminal's mode"),
        AllowedCall("read", 0, "the console's input, signals, eventfd"),
        AllowedCall("write", 1, "the console's output, complaints, eventfd"),
        AllowedCall("poll", 7, "waits for clients, the console, signals, other threads"),
        AllowedCall("pread64", 17, "KVM's statistics; the guest's files at a reset"),
        AllowedCall(
            "lseek", 8, "what of the guest's memory was ever touched", rare: "only for a guest restored from a file"),
        AllowedCall("close", 3, "clients that leave"),
        AllowedCall("accept", 43, "clients of the control socket"),
        AllowedCall("recvmsg", 47, "what they say, and descriptors they bring"),
        AllowedCall("sendmsg", 46, "what they are told, and the descriptors of memory they get"),
        AllowedCall("getsockopt", 55, "who a client is", arguments: "SO_PEERCRED", only: [[.is(1, 1), .is(2, 17)]]),
        AllowedCall(
            "socketpair", 53, "a console for a client", arguments: "AF_UNIX", only: [[.is(0, UInt64(AF_UNIX))]]),
        AllowedCall("fcntl", 72, "new descriptors", arguments: fcntlText, only: fcntlCommands),
        AllowedCall("memfd_create", 319, "the page tables of a stage, for a client"),
        AllowedCall("eventfd2", 290, "ends the log of page tables"),
        AllowedCall(
            "fallocate", 285, "memory reads as zeros after a reset", arguments: "FALLOC_FL_PUNCH_HOLE",
            only: [[.is(1, 3)]]),
        AllowedCall("clock_nanosleep", 230, "a pause while a vCPU's thread begins", rare: "only on a busy host"),
        AllowedCall("unlink", 87, "the files of the guest's folder, at the end"),
        AllowedCall("rmdir", 84, "the guest's folder, at the end"),
    ]
}
