/* INIT and SIPI to every other processor as fast as they can be sent, while those run, for ever. */
#include "processors.inc"
        GUEST
        FAULTS
        DEVICES
        REAL
        BEGIN   "processor-restarts"
        movl    $300, %ebx
1:      movl    $0xc4500, APIC + 0x300
        movl    $0xc4608, APIC + 0x300
        WAIT    20
        decl    %ebx
        jnz     1b
        DONE    "processor-restarts"
        movl    $-1, %ebx
        jmp     1b
        .code16
real:   incw    %cs:0x800
        hlt
        jmp     real
real_end:
        .code64
