/* On COM2, where the kernel's monitor would answer: one line that never ends. */
#include "hostile.inc"
        GUEST
        BEGIN   "monitor-line"
        movl    $1000000, %ebx
        DONE    "monitor-line"
        movw    $MONITOR, %dx
        movb    $'=', %al
1:      outb    %al, %dx
        jmp     1b
