/* WRMSR of every index in the known ranges: what was there, nothing, an address, ones. */
#include "registers.inc"
.macro WRITE
        movl    %ebp, %ecx
        TRY     rdmsr
        TRY     wrmsr
        xorl    %eax, %eax
        xorl    %edx, %edx
        TRY     wrmsr
        movl    $0x3ff00001, %eax
        TRY     wrmsr
        movl    $-1, %eax
        movl    $-1, %edx
        TRY     wrmsr
.endm
        GUEST
        FAULTS
        BEGIN   "msr-write"
        RANGES  WRITE
        DONE    "msr-write"
        POWER_OFF
