/* Local descriptor tables: selectors that are not one's, a base where no memory is, a limit that is too short. */
#include "hostile.inc"
#include "faults.inc"
.macro LOAD instruction, value
        movl    $\value, %eax
        TRY     \instruction
.endm
        GUEST
        FAULTS
        BEGIN   "ldt-wrong"
        lgdt    own_gdtr(%rip)
        LOAD    "lldt %ax", 0x10        /* a data segment */
        LOAD    "lldt %ax", 0xfff8
        LOAD    "lldt %ax", 0x7
        LOAD    "lldt %ax", 0x18        /* an LDT, where no memory is */
        LOAD    "movw %ax, %fs", 0x7
        LOAD    "movw %ax, %gs", 0xffff
        LOAD    "lldt %ax", 0x28        /* one whose limit is 0 */
        LOAD    "movw %ax, %fs", 0xc
        LOAD    "lldt %ax", 0
        DONE    "ldt-wrong"
        POWER_OFF
        .section .rodata
        .balign 8
own_gdt: .quad  0, 0x00af9b000000ffff, 0x00cf93000000ffff
        .quad   0x3f0082f000000fff, 0   /* base 0x3ff00000 */
        .quad   0x0000820000000000, 0
own_gdtr: .word 55
        .quad   own_gdt
