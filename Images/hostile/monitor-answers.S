/* On COM2, where the kernel's monitor would answer: lines of an answer for ever, without the end of any. */
#include "hostile.inc"
        GUEST
        BEGIN   "monitor-answers"
        DONE    "monitor-answers"
        cld
        movw    $MONITOR, %dx
1:      leaq    text(%rip), %rsi
        movl    $text_end - text, %ecx
        rep outsb
        jmp     1b
        .section .rodata
text:   .ascii  "va=0x1000 pa=0x1000 area=main size=65536\n"
text_end:
