/* An IDT full of what is no gate: data segments, call gates, task gates, addresses that are none. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        BEGIN   "idt-garbage"
        leaq    idt(%rip), %rdi
        movl    $512, %ecx
        movq    $-1, %rax
        movabsq $0x9e3779b97f4a7c15, %rbx
1:      movq    %rax, (%rdi)
        addq    %rbx, %rax
        addq    $8, %rdi
        decl    %ecx
        jnz     1b
        ud2
        DONE    "idt-garbage"
        POWER_OFF
