/* Overwrites all below 1 MiB: its start info, its GDT, and where a PC has its ROM. */
#include "hostile.inc"
        GUEST
        BEGIN   "low-memory"
        cld
        xorl    %edi, %edi
        movl    $0x20000, %ecx
        movq    $-1, %rax
        rep stosq
        cmpq    $-1, 0xffff8            /* there is no ROM: it is RAM like any other */
        jne     1f
        DONE    "low-memory"
1:      STAY
