/* HLT, CLI, IN and a write to CR3 in ring 3: each is refused, or does nothing. */
#include "hostile.inc"
#include "faults.inc"
#include "ring3.inc"
.macro REFUSED instruction:vararg
        leaq    .Lafter\@(%rip), %r15
        movq    %r15, resume(%rip)
        RING3   .Lring\@
.Lring\@: \instruction
        ud2                             /* some hosts do nothing where a processor refuses */
.Lafter\@:
        movl    $stack_top - 2048, %esp
.endm
        GUEST
        FAULTS
        TASKS
        BEGIN   "halt-ring3"
        movq    %cr3, %rbp
        movl    $0x1000, %eax
        REFUSED hlt
        REFUSED cli
        REFUSED inb $0x60, %al
        REFUSED movq %rax, %cr3
        movq    %cr3, %rax
        cmpq    %rax, %rbp
        jne     1f
        DONE    "halt-ring3"
1:      POWER_OFF
