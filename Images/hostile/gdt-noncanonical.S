/* Bases of the GDT and the IDT that are no addresses: each load is refused. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        BEGIN   "gdt-noncanonical"
        TRY     lgdt wrong(%rip)
        TRY     lidt wrong(%rip)
        EXPECT  "gdt-noncanonical", 13, 2
        POWER_OFF
        .section .rodata
wrong:  .word   0xffff
        .quad   0x8000000000000000
