/* A TSS whose stack for ring 0 is no address; then a fault in ring 3, which has nowhere to go. */
#include "hostile.inc"
#include "faults.inc"
#include "ring3.inc"
        GUEST
        FAULTS
        BEGIN   "tss-stack"
        TASKS   0x8000000000000000
        RING3   1f
1:      ud2
        jmp     1b
