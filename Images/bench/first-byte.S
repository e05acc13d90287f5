/* Writes one byte to the console with its first instructions, reports the stages and powers off: what starting and ending a
 * guest costs.
 */
#include "hostile.inc"
        NOTES   entry, entry
        .globl  entry64
entry64:
entry:  OUT8    SERIAL, '!'
        READY
        OUT8    DEBUG_EXIT, 0
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
