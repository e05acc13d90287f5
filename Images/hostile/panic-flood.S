/* Panics in every width, again and again: the first of 32 bits counts. */
#include "hostile.inc"
        GUEST
        BEGIN   "panic-flood"
        movw    $PANIC, %dx
        outb    %al, %dx
        outw    %ax, %dx
        DONE    "panic-flood"
        movw    $PANIC, %dx
        movl    $0xffffffff, %eax
1:      outl    %eax, %dx
        jmp     1b
