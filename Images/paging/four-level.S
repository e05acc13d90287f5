/* 64-bit mode with 4 levels of tables. */
#include "paging.inc"
        ENTRY   entry
        .code32
        SET_CR4 0xa0               /* PAE, PGE */
        SET_EFER 0x900             /* LME, NXE */
        TURN_ON pml4
        lgdt    gdtr
        ljmp    $8, $long_mode
        .code64
long_mode:
        movl    $0x1234, 0x800000
        READ_TABLE 512, 8
        HALT
#include "long-mode.inc"

