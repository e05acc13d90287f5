/* A fault while the stack pointer is no address: none of the faults that follow can be handed over. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        BEGIN   "stack-noncanonical"
        movabsq $0x8000000000000000, %rsp
        ud2
        POWER_OFF
