/* The second processor prints in real mode and halts with interrupts off; the first does after it. */
#include "processors.inc"
        GUEST
        FAULTS
        DEVICES
        REAL
        BEGIN   "halt-real"
        SEND    1, INIT
        WAIT
        SEND    1, SIPI + 8
1:      pause
        cmpb    $1, 0x8800
        jne     1b
        cli
2:      hlt
        jmp     2b
        .code16
real:   movw    $real_text - real, %si
        movw    $SERIAL, %dx
3:      movb    %cs:(%si), %al
        testb   %al, %al
        jz      4f
        outb    %al, %dx
        incw    %si
        jmp     3b
4:      movb    $1, %cs:0x800
5:      cli
        hlt
        jmp     5b
real_text: .asciz "halt-real: done\n"
real_end:
        .code64
