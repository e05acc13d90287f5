/* Interrupts to itself, one after the other, for ever. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        DEVICES
        BEGIN   "ipi-storm"
        sti
1:      movl    $0x40040, APIC + 0x300  /* vector 0x40, to itself */
        cmpl    $500, interrupts(%rip)
        jb      1b
        DONE    "ipi-storm"
2:      movl    $0x40041, APIC + 0x300
        jmp     2b
