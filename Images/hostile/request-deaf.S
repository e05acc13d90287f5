/* Reads the port of requests for ever, and does nothing that it is asked for; writes it, and reads it in other widths. */
#include "hostile.inc"
        GUEST
        BEGIN   "request-deaf"
        DONE    "request-deaf"
        movw    $0x710, %dx
1:      inb     %dx, %al
        inw     %dx, %ax
        inl     %dx, %eax
        outb    %al, %dx
        outl    %eax, %dx
        jmp     1b
