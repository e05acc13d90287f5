/* Interrupts to itself that cannot be held back, for ever. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        DEVICES
        BEGIN   "nmi-storm"
1:      movl    $0x400, APIC + 0x300
        cmpl    $500, nmis(%rip)
        jb      1b
        DONE    "nmi-storm"
2:      movl    $0x400, APIC + 0x300
        jmp     2b
