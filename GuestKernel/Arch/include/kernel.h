/* What the assembly, the few lines of C and the Swift of the kernel share: sizes, offsets, structures. */
#ifndef KERNEL_H
#define KERNEL_H

#define BOOT_STACK_SIZE 16384
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME_NXE 0x901          /* SCE, LME, NXE */
#define CR0_LONG_MODE 0x80010033    /* PG, WP, NE, ET, MP, PE */

/* Offsets that the assembly uses; Descriptors.swift checks none of them, `_Static_assert` below does. */
#define CPU_CURRENT 8
#define CPU_PREVIOUS 16
#define CPU_SCRATCH 24
#define THREAD_KERNEL_STACK 8
#define THREAD_ON_CPU 16
#define THREAD_GS_BASE 112
#define FRAME_WORDS 22
#define FRAME_SIZE (FRAME_WORDS * 8)

/* Vectors. */
#define VECTOR_YIELD 0x100          /* not a real vector: a thread gave up its processor */
#define VECTOR_SYSCALL 0x101        /* not a real vector: the syscall instruction */

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

/* What a trap pushes; the top of a thread's saved state. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

struct thread;

/* One processor. GS points at it in ring 0. */
struct cpu {
    struct cpu *self;           /* what lies at offset 0 of a cpu and of a thread is the processor */
    struct thread *current;
    struct thread *previous;    /* left by a switch; its on_cpu is cleared when its stack is no longer in use */
    uint64_t scratch;
    struct thread *idle;
    uint32_t number, apic;
    uint32_t online;
    uint32_t reschedule;        /* the scheduler shall look at the next chance */
    uint32_t locks;             /* spin locks held */
    uint32_t flush;             /* a TLB flush is asked for */
    uint64_t ticks;
    uint64_t root;              /* the root in CR3 */
    uint64_t fs_base;           /* in the MSR, for ring 3 */
    uint64_t gdt[8];
    uint32_t tss[26];
    uint32_t has_timer;         /* its local APIC's timer ticks */
    uint32_t reserved[1];
};

/* One thread. */
struct thread {
    struct cpu *cpu;            /* where it runs, or ran last */
    uint64_t kernel_stack;      /* top; RSP0 */
    uint32_t on_cpu;            /* its stack is in use */
    uint32_t state;
    struct trap_frame *frame;   /* saved registers while it does not run */
    uint64_t interrupt_stack;   /* top; IST1 */
    uint64_t exception_stack;   /* top; IST2 */
    int32_t program;            /* number of the program it belongs to, -1: the kernel */
    int32_t affinity;           /* processor it stays on, -1: any */
    uint32_t priority;          /* 0 idle, 1 ordinary, 2 the monitor */
    uint32_t ring3;             /* FPU state is saved and restored */
    uint64_t entry, argument;
    void *fpu;                  /* 512 bytes for FXSAVE, or null */
    const char *name;
    void *space;                /* its address space; null: whatever is loaded (idle threads) */
    uint64_t fs_base, gs_base;  /* of ring 3 */
    struct thread *next; /* the ring of all threads */
};

_Static_assert(offsetof(struct cpu, current) == CPU_CURRENT, "");
_Static_assert(offsetof(struct cpu, previous) == CPU_PREVIOUS, "");
_Static_assert(offsetof(struct cpu, scratch) == CPU_SCRATCH, "");
_Static_assert(offsetof(struct thread, kernel_stack) == THREAD_KERNEL_STACK, "");
_Static_assert(offsetof(struct thread, on_cpu) == THREAD_ON_CPU, "");
_Static_assert(offsetof(struct thread, gs_base) == THREAD_GS_BASE, "");
_Static_assert(sizeof(struct trap_frame) == FRAME_SIZE, "");
#endif
#endif
