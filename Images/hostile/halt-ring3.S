/* HLT, CLI, IN and a write to CR3 in ring 3: each is refused. */
#include "hostile.inc"
#include "faults.inc"
#include "ring3.inc"
.macro REFUSED instruction:vararg
        leaq    .Lafter\@(%rip), %r15
        movq    %r15, resume(%rip)
        RING3   .Lring\@
.Lring\@: \instruction
.Lstuck\@: jmp  .Lstuck\@
.Lafter\@:
        movl    $stack_top - 2048, %esp
.endm
        GUEST
        FAULTS
        TASKS
        BEGIN   "halt-ring3"
        REFUSED hlt
        REFUSED cli
        REFUSED inb $0x60, %al
        REFUSED movq %rax, %cr3
        EXPECT  "halt-ring3", 13, 4
        POWER_OFF
