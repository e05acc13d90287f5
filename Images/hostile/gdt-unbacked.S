/* A GDT where no memory is: every descriptor reads as ones, those of the gates as well. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        BEGIN   "gdt-unbacked"
        lgdt    wrong(%rip)
        movl    $0x28, %eax
        TRY     movw %ax, %ds
        ud2
        DONE    "gdt-unbacked"
        POWER_OFF
        .section .rodata
wrong:  .word   0xffff
        .quad   0x3ff00000
