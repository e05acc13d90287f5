/* On COM2: half a line and half an answer to each request, after every byte that it is sent. */
#include "hostile.inc"
        GUEST
        BEGIN   "monitor-cut"
        DONE    "monitor-cut"
1:      movw    $MONITOR + 5, %dx
        inb     %dx, %al
        testb   $1, %al
        jz      1b
        movw    $MONITOR, %dx
        inb     %dx, %al
        movb    $'o', %al
        outb    %al, %dx
        movb    $'k', %al
        outb    %al, %dx
        movb    $' ', %al
        outb    %al, %dx
        jmp     1b
