/* An IDT where no memory is: every gate reads as ones. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        BEGIN   "idt-unbacked"
        movq    $0x3ff00000, idtr + 2(%rip)
        lidt    idtr(%rip)
        ud2
        DONE    "idt-unbacked"
        POWER_OFF
