/* 64-bit mode with 5 levels of tables. */
#include "paging.inc"
        ENTRY   entry
        .code32
        SET_CR4 0x10a0               /* PAE, PGE, LA57 */
        SET_EFER 0x900             /* LME, NXE */
        TURN_ON pml5
        lgdt    gdtr
        ljmp    $8, $long_mode
        .code64
long_mode:
        movl    $0x1234, 0x800000
        READ_TABLE 512, 8
        HALT
#include "long-mode.inc"

        .data
        .balign 4096
pml5:   .quad   pml4 + TABLE
        .fill   254, 8, 0
        .quad   pml4 + P, pml4 + TABLE + XD, pml4 + TABLE
        .fill   511 - 258, 8, 0
        .quad   pml4 + TABLE

