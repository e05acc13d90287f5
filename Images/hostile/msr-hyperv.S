/* The model-specific registers of Hyper-V: the page of hypercalls in nothing, clocks in nothing, crash, and reset last. */
#include "registers.inc"
.macro WRITE
        movl    %ebp, %ecx
        TRY     rdmsr
        movl    $0x3ff00001, %eax
        xorl    %edx, %edx
        TRY     wrmsr
        movl    $-1, %eax
        movl    $-1, %edx
        TRY     wrmsr
.endm
        GUEST
        FAULTS
        BEGIN   "msr-hyperv"
        RANGE   WRITE, 0x40000000, 3
        RANGE   WRITE, 0x40000004, 0x1fc
        movl    $0x40000003, %ecx
        movl    $1, %eax
        TRY     wrmsr
        DONE    "msr-hyperv"
        POWER_OFF
