/* Every value in every register of both serial ports, each register read after each, the loop-back included. */
#include "hostile.inc"
        GUEST
        BEGIN   "serial-registers"
        movl    $SERIAL, %ebx
1:      xorl    %ebp, %ebp
2:      movl    $7, %ecx
3:      leal    (%rbx,%rcx), %edx
        movl    %ebp, %eax
        testl   %ecx, %ecx              /* what is sent goes out as a blank */
        jnz     4f
        movb    $' ', %al
4:      outb    %al, %dx
        movl    %ebx, %edx
        inb     %dx, %al
        addl    $2, %edx
        inb     %dx, %al
        addl    $3, %edx
        inw     %dx, %ax
        decl    %ecx
        jns     3b
        incl    %ebp
        cmpl    $256, %ebp
        jb      2b
        subl    $SERIAL - MONITOR, %ebx
        cmpl    $MONITOR, %ebx
        je      1b
        OUT8    SERIAL + 4, 0
        OUT8    SERIAL + 3, 3
        PRINT   "\n"
        DONE    "serial-registers"
        POWER_OFF
