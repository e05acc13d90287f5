/* Reads every port: those below 0x1000, where devices are, in each width, the others four at a time. */
#include "hostile.inc"
        GUEST
        BEGIN   "every-port-read"
        xorl    %edx, %edx
1:      inb     %dx, %al
        inw     %dx, %ax
        inl     %dx, %eax
        incw    %dx
        cmpw    $0x1000, %dx
        jb      1b
2:      inl     %dx, %eax
        addw    $4, %dx
        jnz     2b
        DONE    "every-port-read"
        POWER_OFF
