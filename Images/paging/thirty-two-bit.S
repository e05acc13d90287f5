/* 32-bit paging with 4 MiB pages and PSE-36. */
#include "paging.inc"
        ENTRY   entry
        .code32
        SET_CR4 0x90               /* PSE, PGE */
        TURN_ON directory
        movl    $0x1234, 0x800000  /* accessed and dirty, through the first entry of the table */
        READ_TABLE 1024, 4
        HALT

        .data
        .balign 4096
directory:
        .long   LEAF, 0x400000 + LEAF + G
        .long   table + TABLE, table + P
        .long   0x800000 + LEAF + (5 << 13), 0x800000 + LEAF + US + PAT_LARGE
        .long   0xc00000 + P + PS + (0xff << 13)
        .fill   1023 - 7, 4, 0
        .long   directory + P + RW
table:  PAGES   1024, .long
