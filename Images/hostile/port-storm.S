/* A storm of port writes and reads, single and repeated, on ports that nothing answers and on ports that something does. */
#include "hostile.inc"
        GUEST
        READY
        PRINT   "port-storm: writing\n"
        cld
1:      movl    $1000, %ebx
2:      movw    $0xe000, %dx
        outb    %al, %dx
        outl    %eax, %dx
        inb     %dx, %al
        movw    $0x80, %dx
        outb    %al, %dx
        movw    $SERIAL + 7, %dx        /* scratch register of COM1 */
        outb    %al, %dx
        inb     %dx, %al
        decl    %ebx
        jnz     2b
        movw    $0xe000, %dx            /* and by the thousand */
        leaq    boot_pd(%rip), %rsi
        movl    $1024, %ecx
        rep outsl
        leaq    scratch(%rip), %rdi
        movl    $4096, %ecx
        rep insb
        jmp     1b
        .bss
scratch:
        .skip   4096
