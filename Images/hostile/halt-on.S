/* Halts with interrupts on, and no source of any: in the shadow of STI first, for ever. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        OUT8    0x21, 0xff
        OUT8    0xa1, 0xff
        BEGIN   "halt-on"
        DONE    "halt-on"
1:      sti
        hlt
        jmp     1b
