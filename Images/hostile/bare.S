/* Nothing but the stage reports and the end: what a monitor costs by itself. The instructions encode alike in 32-bit and
 * 64-bit mode, so that one entry serves both protocols. Without a power-off port it ends by a triple fault.
 */
#include "hostile.inc"
        NOTES   entry, entry
        .globl  entry64
entry64:
entry:  READY
        OUT8    DEBUG_EXIT, 0
        movw    $POWER, %dx
        movb    $0x20, %ah
        outw    %ax, %dx
        ud2

        .data
        .balign 4096
boot_pml4:
        .quad   boot_pdpt + TABLE
        .fill   511, 8, 0
boot_pdpt:
        .quad   boot_pd + TABLE
        .fill   511, 8, 0
boot_pd:
        .quad   LEAF, 0x200000 + LEAF
        .fill   510, 8, 0
