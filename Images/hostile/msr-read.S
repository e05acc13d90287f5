/* RDMSR of every index in the known ranges: a value or a fault. */
#include "registers.inc"
.macro READ
        movl    %ebp, %ecx
        TRY     rdmsr
.endm
        GUEST
        FAULTS
        BEGIN   "msr-read"
        RANGES  READ
        DONE    "msr-read"
        POWER_OFF
