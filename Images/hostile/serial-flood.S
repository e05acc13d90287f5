/* Floods both serial ports without once asking whether they are ready, by single bytes and by the thousand. */
#include "hostile.inc"
        GUEST
        READY
        PRINT   "serial-flood: flooding\n"
1:      movw    $SERIAL, %dx
        movl    $256, %ecx
        movb    $'f', %al
2:      outb    %al, %dx
        decl    %ecx
        jnz     2b
        leaq    boot_pd(%rip), %rsi
        movl    $4096, %ecx
        rep outsb
        movw    $MONITOR, %dx
        leaq    boot_pd(%rip), %rsi
        movl    $4096, %ecx
        rep outsb
        jmp     1b
