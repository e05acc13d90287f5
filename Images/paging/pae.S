/* PAE paging with execute disable. The root is at a multiple of 32 that is none of 4096. */
#include "paging.inc"
        .set    XD, 0x8000000000000000
        ENTRY   entry
        .code32
        SET_CR4 0xa0               /* PAE, PGE */
        SET_EFER 0x800             /* NXE */
        TURN_ON root
        movl    $0x1234, 0x800000
        READ_TABLE 512, 8
        HALT

        .data
        .balign 4096
        .fill   32, 1, 0
root:   .quad   low + P, high + P, 0, top + P
        .balign 4096
low:    .quad   LEAF, 0x200000 + LEAF + G, 0x400000 + LEAF + XD, 0x600000 + LEAF + US
        .quad   table + TABLE, table + P, table + TABLE + XD
        .fill   512 - 7, 8, 0
high:   .quad   0x123400000 + LEAF + PAT_LARGE, 0x1ffe00000 + LEAF
        .fill   509, 8, 0
        .quad   table + TABLE
top:    .fill   511, 8, 0
        .quad   table + TABLE
table:  PAGES   512, .quad, XD
