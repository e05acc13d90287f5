/* Start-up commands that make no sense: SIPI to itself, without INIT, to processors that run, to some that are not there, with
 * vectors without code; INIT to itself last.
 */
#include "processors.inc"
        GUEST
        FAULTS
        DEVICES
        REAL
        BEGIN   "processor-commands"
        SEND    0, SIPI + 8             /* itself */
        SEND    1, SIPI + 8             /* without INIT */
        SEND    9, INIT
        SEND    9, SIPI + 8
        SEND    254, SIPI + 0xff
        SEND    1, INIT
        WAIT
        SEND    1, SIPI + 8
        SEND    1, SIPI + 9             /* while it runs */
        SEND    1, SIPI + 8
        movl    $0x8500, APIC + 0x300   /* INIT, level, de-asserted */
        movl    $0xc4500, APIC + 0x300  /* INIT to all but itself */
        movl    $0xc4608, APIC + 0x300  /* SIPI to all but itself */
1:      pause
        cmpl    $50, 0x8800
        jb      1b
        DONE    "processor-commands"
        SEND    0, INIT
        STAY
        .code16
real:   incw    %cs:0x800
        jmp     real
real_end:
        .code64
