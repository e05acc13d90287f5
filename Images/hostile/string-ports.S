/* INS and OUTS by repetition, in every width: over the end of a page, of each memory slot and of RAM, in nothing, in memory
 * that may only be read, and from memory that is there to memory that is not mapped.
 */
#include "hostile.inc"
#include "faults.inc"
.macro STRINGS address
        .irp    width, b, w, l
        movl    $16, %ecx
        movl    $\address - 6, %esi
        TRY     rep outs\width
        movl    $16, %ecx
        movl    $\address - 6, %edi
        TRY     rep ins\width
        .endr
.endm
        GUEST
        FAULTS
        BEGIN   "string-ports"
        cld
        movw    $0xe000, %dx
        movl    $0x4000e5, boot_pd + 128 * 8    /* at VA 0x10000000: RAM, not writable */
        STRINGS buffer + 4096
        STRINGS 0x1800000               /* the slots of 64 MiB of layout osv */
        STRINGS 0x1a00000
        STRINGS 0x4000000
        STRINGS 0x3ff00000
        STRINGS 0x10000100
        STRINGS 0x10000000
        STRINGS 0x40000000
        DONE    "string-ports"
        POWER_OFF
        .bss
        .balign 4096
buffer: .skip   8192
