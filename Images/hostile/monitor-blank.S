/* On COM2, where the kernel's monitor would answer: ends of lines for ever, and nothing in the lines. */
#include "hostile.inc"
        GUEST
        BEGIN   "monitor-blank"
        DONE    "monitor-blank"
        cld
        leaq    text(%rip), %rax
        movw    $MONITOR, %dx
1:      movq    %rax, %rsi
        movl    $4096, %ecx
        rep outsb
        jmp     1b
        .section .rodata
text:   .fill   4096, 1, 10
