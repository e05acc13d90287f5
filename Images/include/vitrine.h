/* What a program of a Vitrine guest may use. docs/guest-contract.md says the same in words.
 *
 * A program is an ELF64 static-PIE file (ET_DYN, x86-64, only R_X86_64_RELATIVE relocations). It begins at its ELF entry:
 *
 *     rdi   const struct vitrine_services *      NULL in ring 3
 *     rsi   the program's argument text, NUL-terminated (what follows "args=" on the kernel's command line), or ""
 *     rsp   16-byte aligned, less 8, as if called; returning from the entry is exit(rax)
 *
 * In ring 0 (the default, as in OSv) the services are plain calls, System V ABI. Build with
 *     gcc -static-pie -nostdlib -mgeneral-regs-only -O2
 * because ring 0 is emulated on some hosts, and the emulator has no SSE.
 *
 * In ring 3 (--append ring=3) the same services are system calls by the `syscall` instruction with the numbers below (those
 * of Linux where Linux has them); arguments in rdi, rsi, rdx; the result in rax, -1 on failure.
 */
#ifndef VITRINE_H
#define VITRINE_H
#include <stdint.h>

enum vitrine_area { VITRINE_BY_SIZE = 0, VITRINE_MAIN = 1, VITRINE_PAGE = 2, VITRINE_MEMPOOL = 3, VITRINE_DEBUG = 4 };
enum vitrine_protection { VITRINE_NONE = 0, VITRINE_READ = 1, VITRINE_WRITE = 2, VITRINE_EXECUTE = 4 };

struct vitrine_services {
    uint64_t version; /* 1 */
    uint64_t size;    /* of this structure in bytes */
    void (*write)(const char *bytes, uint64_t count);
    void (*exit)(int64_t status) __attribute__((noreturn));
    void *(*allocate)(uint64_t size, uint64_t area);
    void (*release)(void *block);
    void *(*map)(void *at, uint64_t size, uint64_t protection); /* at NULL: anywhere from 0x200000000000 */
    int64_t (*protect)(void *at, uint64_t size, uint64_t protection);
    int64_t (*unmap)(void *at, uint64_t size);
    void (*yield)(void);
    uint64_t (*ticks)(void); /* timer ticks since the start */
};

enum vitrine_system_call {
    VITRINE_SYS_WRITE = 1,     /* rdi bytes, rsi count */
    VITRINE_SYS_MAP = 9,       /* rdi address or 0, rsi size, rdx protection */
    VITRINE_SYS_PROTECT = 10,  /* rdi address, rsi size, rdx protection */
    VITRINE_SYS_UNMAP = 11,    /* rdi address, rsi size */
    VITRINE_SYS_YIELD = 24,
    VITRINE_SYS_PAUSE = 34,    /* until the process is ended from outside */
    VITRINE_SYS_GETPID = 39,
    VITRINE_SYS_THREAD = 56,   /* rdi entry, rsi stack, rdx its argument, in rdi; 0 */
    VITRINE_SYS_FORK = 57,     /* the child's number, in the child 0; where processes have address spaces of their own */
    VITRINE_SYS_EXIT = 60,     /* rdi status; the whole program ends */
    VITRINE_SYS_WAIT = 61,     /* rdi number: waits until that process is over; its status */
    VITRINE_SYS_TICKS = 96,
    VITRINE_SYS_THREAD_EXIT = 231, /* this thread alone ends */
    /* Where the layout is panda: */
    VITRINE_SYS_BRK = 12,          /* rdi the heap's end, 0: asks; what it is afterwards */
    VITRINE_SYS_ARGUMENT = 400,    /* rdi where the argument text goes, rsi bytes there; its length */
    VITRINE_SYS_BUFFER = 401,      /* rdi size; a buffer's address */
    VITRINE_SYS_BUFFER_FREE = 402, /* rdi a buffer's address; 0 */
    VITRINE_SYS_BUFFER_FILL = 403, /* rdi address, rsi size, rdx value: the kernel writes words value, value + 1, ...; 0 */
    /* resea's vm server alone */
    VITRINE_SYS_SERVER_RECEIVE = 1000, /* rdi five words for the next message: kind, slot, task, address, code; waits for it */
    VITRINE_SYS_SERVER_ANSWER = 1001,  /* rdi slot, rsi physical page or task, rdx enum vitrine_answer */
    VITRINE_SYS_SERVER_TASK = 1002,    /* rdi file of the bootfs, rsi entry: the new task's number, whose pages come by messages */
};

/* Messages to the vm server, and its answers. */
enum vitrine_message {
    VITRINE_MESSAGE_FAULT = 1, /* the faulting address; its error code, 0x100 in a mapping, 0x200 in one that may be written */
    VITRINE_MESSAGE_ENDED = 2, /* the task's pages are mapped nowhere any more; no answer */
    VITRINE_MESSAGE_START = 3, /* address: a file of the bootfs; answered with the task's number */
    VITRINE_MESSAGE_FREED = 5, /* address: a physical page that the task unmapped */
    VITRINE_MESSAGE_BOOT = 4,  /* address: the end of the pages to hand out; code: how many of each file to start */
};
enum vitrine_answer {
    VITRINE_ANSWER_NO = 0,
    VITRINE_ANSWER_READABLE = 1,
    VITRINE_ANSWER_WRITABLE = 2,
    VITRINE_ANSWER_NO_MEMORY = 3,
};
#endif
