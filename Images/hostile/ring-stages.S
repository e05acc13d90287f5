/* Reports that make no sense: stages out of order, twice, unknown and wide; ends of programs that never were; and on COM2,
 * where the kernel's monitor would answer, lines without end, control bytes and answers nobody asked for, for ever.
 */
#include "hostile.inc"
        GUEST
        READY
        OUT8    STAGE, 'R'
        OUT8    STAGE, 'A'
        OUT8    STAGE, 'C'
        OUT8    STAGE, 'B'
        OUT8    STAGE, 0
        OUT8    STAGE, 255
        movl    $0xffffff52, %eax
        outl    %eax, %dx
        outw    %ax, %dx
        movw    $PROGRAM, %dx
        movl    $0xff000001, %eax       /* program 255 ended */
        outl    %eax, %dx
        movl    $0x00800000, %eax       /* program 0 ended with the least status, twice */
        outl    %eax, %dx
        outl    %eax, %dx
        outb    %al, %dx
        PRINT   "ring-stages: talking nonsense\n"
1:      leaq    nonsense(%rip), %rsi
        movl    $nonsense_end - nonsense, %ecx
        movw    $MONITOR, %dx
        rep outsb
        incl    %ebx
        testl   $0xff, %ebx
        jnz     1b
        movl    $70000, %ecx            /* one line that does not end */
        movb    $'=', %al
2:      outb    %al, %dx
        decl    %ecx
        jnz     2b
        jmp     1b
        .section .rodata
nonsense:
        .ascii  "\r\n\0\377\376 = == key= =value ok error: \nok\nok\nerror:\n\033[2J{\"QMP\":1}\nva=0xzz pa=\n"
nonsense_end:
