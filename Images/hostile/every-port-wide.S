/* Writes ones in 16 and 32 bits to every port below 0x1000, where devices are, but to those that would end the guest, and to
 * the others four at a time.
 */
#include "hostile.inc"
        GUEST
        BEGIN   "every-port-wide"
        xorl    %edx, %edx
1:      movl    $-1, %eax
        movl    %edx, %ebx              /* 0x60...0x67 and 0xcf6...0xcf9 reset, 0x4fe...0x501, 0x604 and 0x704 end */
        andl    $0xfff8, %ebx
        cmpl    $0x60, %ebx
        je      2f
        cmpl    $0xcf0, %ebx
        je      2f
        cmpl    $0xcf8, %ebx
        je      2f
        cmpl    $0x4f8, %ebx
        je      2f
        cmpl    $0x500, %ebx
        je      2f
        cmpl    $0x600, %ebx
        je      2f
        cmpl    $0x700, %ebx
        je      2f
        outw    %ax, %dx
        outl    %eax, %dx
2:      incw    %dx
        cmpw    $0x1000, %dx
        jb      1b
3:      outl    %eax, %dx
        addw    $4, %dx
        jnz     3b
        OUT8    SERIAL + 4, 0
        OUT8    SERIAL + 3, 3           /* the line again as a console wants it */
        DONE    "every-port-wide"
        POWER_OFF
