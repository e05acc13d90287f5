/* Trap stubs, the switch between threads, the syscall entry, and accesses that may fault.
 *
 * A trap pushes struct trap_frame and calls trap_dispatch(frame), which answers with the frame to go on with: the same, or
 * another thread's. Above the stack that the processor switched to lies a pointer whose first word is the processor
 * (struct thread or struct cpu), so that GS can be set on the way in from ring 3 without swapgs.
 */
#include "kernel.h"

    .macro push_registers
    push %rax
    push %rcx
    push %rdx
    push %rbx
    push %rbp
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    .endm

    /* For debuggers: RSP points at a struct trap_frame. The caller's frame is what was interrupted, with all its registers: DWARF 5, 6.4.2;
     * 0x0f defines the CFA, 0x10 a register, by an expression of 0x77 (RSP plus an SLEB128) and 0x06 (dereference). */
    .macro in_trap_frame
    .cfi_escape 0x0f, 4, 0x77, 0xa0, 0x01, 0x06     /* CFA: RSP */
    .cfi_escape 0x10, 16, 3, 0x77, 0x88, 0x01       /* RIP */
    .cfi_escape 0x10, 15, 2, 0x77, 0
    .cfi_escape 0x10, 14, 2, 0x77, 8
    .cfi_escape 0x10, 13, 2, 0x77, 16
    .cfi_escape 0x10, 12, 2, 0x77, 24
    .cfi_escape 0x10, 11, 2, 0x77, 32
    .cfi_escape 0x10, 10, 2, 0x77, 40
    .cfi_escape 0x10, 9, 2, 0x77, 48
    .cfi_escape 0x10, 8, 2, 0x77, 56
    .cfi_escape 0x10, 5, 3, 0x77, 0xc0, 0           /* RDI */
    .cfi_escape 0x10, 4, 3, 0x77, 0xc8, 0           /* RSI */
    .cfi_escape 0x10, 6, 3, 0x77, 0xd0, 0           /* RBP */
    .cfi_escape 0x10, 3, 3, 0x77, 0xd8, 0           /* RBX */
    .cfi_escape 0x10, 1, 3, 0x77, 0xe0, 0           /* RDX */
    .cfi_escape 0x10, 2, 3, 0x77, 0xe8, 0           /* RCX */
    .cfi_escape 0x10, 0, 3, 0x77, 0xf0, 0           /* RAX */
    .endm

    .cfi_sections .debug_frame
    .text
    /* InterruptTable.fill: none of them beyond a multiple of 64 KiB. */
    .p2align 12
    .global trap_stubs
trap_stubs:
    .set vector, 0
    .rept 256
    .p2align 4
    /* Vectors for which the processor pushes an error code: SDM volume 3, table 6-1. */
    .if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    push $0
    .endif
    push $vector
    jmp trap_common
    .set vector, vector + 1
    .endr

    .type trap_common, @function
trap_common:
    .cfi_startproc
    .cfi_signal_frame
    push_registers
    in_trap_frame
    cld
    testb $3, 136 + 8(%rsp)
    jnz trap_from_user
trap_call:
    mov %rsp, %rdi
    call trap_dispatch
resume_frame:
    mov %rax, %rsp
    /* The stack of the thread that was left is free for another processor only now. */
    mov %gs:CPU_PREVIOUS, %rcx
    test %rcx, %rcx
    jz 1f
    movq $0, %gs:CPU_PREVIOUS
    movl $0, THREAD_ON_CPU(%rcx)
    /* Ring 3 has a GS base of its own where its layout gives it one. */
1:  testb $3, 136 + 8(%rsp)
    jz 1f
    mov %gs:CPU_CURRENT, %rdx
    mov THREAD_GS_BASE(%rdx), %rax
    test %rax, %rax
    jz 1f
    mov %rax, %rdx
    shr $32, %rdx
    mov $0xc0000101, %ecx
    wrmsr
1:  pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbp
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    iretq

trap_from_user:
    mov FRAME_SIZE(%rsp), %rsi
    mov (%rsi), %rax
    mov %rax, %rdx
    shr $32, %rdx
    mov $0xc0000101, %ecx           /* GS base */
    wrmsr
    /* An exception's frame moves to the kernel stack: its handler may fault in turn, when it copies for the program. */
    mov 15 * 8(%rsp), %rax
    cmp $32, %rax
    jae trap_call
    cmp $2, %rax
    je trap_call
    cmp $8, %rax
    je trap_call
    cmp $18, %rax
    je trap_call
    mov THREAD_KERNEL_STACK(%rsi), %rdi
    sub $FRAME_SIZE, %rdi
    mov %rsp, %rsi
    mov %rdi, %rax
    mov $FRAME_WORDS, %ecx
    rep movsq
    mov %rax, %rsp
    jmp trap_call
    .cfi_endproc
    .size trap_common, . - trap_common

    /* void yield_processor(void): lets the scheduler choose; returns when this thread is chosen again. */
    .global yield_processor
    .type yield_processor, @function
yield_processor:
    .cfi_startproc
    .cfi_signal_frame
    pop %rdx
    mov %rsp, %rax
    pushfq
    pop %rcx
    cli
    push $0x10
    push %rax
    push %rcx
    push $0x08
    push %rdx
    push $0
    push $VECTOR_YIELD
    push_registers
    in_trap_frame
    mov %rsp, %rdi
    call trap_dispatch
    jmp resume_frame
    .cfi_endproc
    .size yield_processor, . - yield_processor

    /* void start_first_thread(struct trap_frame *) */
    .global start_first_thread
start_first_thread:
    mov %rdi, %rax
    jmp resume_frame

    /* Ring 3's syscall instruction, on hosts where it enters ring 0: RCX = RIP, R11 = RFLAGS, RSP still the program's. */
    .p2align 4
    .global syscall_entry
syscall_entry:
    swapgs
    mov %rsp, %gs:CPU_SCRATCH
    mov %gs:CPU_CURRENT, %rsp
    mov THREAD_KERNEL_STACK(%rsp), %rsp
    push $0x23
    push %gs:CPU_SCRATCH
    swapgs
    push %r11
    push $0x2b
    push %rcx
    push $0
    push $VECTOR_SYSCALL
    push_registers
    cld
    /* LSTAR is an upper-half alias of this page; go on where the kernel was linked. */
    jmp *trap_from_user_address(%rip)

    /* Accesses that may fault. The trap handler knows these addresses: it puts the fault into RAX and goes on at probe_failed. */
    .global probe_read, probe_read_at, probe_write, probe_write_at, probe_copy, probe_copy_at, probe_failed
probe_read:
    xor %eax, %eax
probe_read_at:
    mov (%rdi), %rdx
    mov %rdx, (%rsi)
    ret
probe_write:
    xor %eax, %eax
probe_write_at:
    mov %rsi, (%rdi)
    ret
probe_copy:
    mov %rdx, %rcx
    xor %eax, %eax
probe_copy_at:
    rep movsb
probe_failed:
    ret

    .data
    .p2align 3
trap_from_user_address: .quad trap_from_user
    .global ap_boot_cr3, ap_boot_stack, ap_boot_cpu
ap_boot_cr3:   .quad 0
ap_boot_stack: .quad 0
ap_boot_cpu:   .quad 0

    .section .note.GNU-stack, "", @progbits
