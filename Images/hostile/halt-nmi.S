/* Halts in the handler of an NMI, which keeps further ones away. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        DEVICES
        leaq    blocked(%rip), %rax
        movw    %ax, idt + 2 * 16(%rip)
        shrl    $16, %eax
        movw    %ax, idt + 2 * 16 + 6(%rip)
        BEGIN   "halt-nmi"
        movl    $0x400, APIC + 0x300
        STAY
blocked:
        DONE    "halt-nmi"
        movl    $0x400, APIC + 0x300
1:      hlt
        jmp     1b
