/* An IDT that ends before the gate of the fault, and before those of the faults that follow from it. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        BEGIN   "idt-short"
        movw    $6 * 16 - 1, idtr(%rip)
        lidt    idtr(%rip)
        ud2
        DONE    "idt-short"
        POWER_OFF
