/* Bases of the GDT and the IDT that are no addresses: each load is refused, or undone before it matters. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        BEGIN   "gdt-noncanonical"
        TRY     lgdt wrong(%rip)
        TRY     lidt wrong(%rip)
        lgdt    flat_gdtr(%rip)
        lidt    idtr(%rip)
        TRY     ud2
        EXPECT  "gdt-noncanonical", 6, 1
        POWER_OFF
        .section .rodata
wrong:  .word   0xffff
        .quad   0x8000000000000000
