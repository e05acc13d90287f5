/* Selectors beyond the limit of the GDT, of an LDT that is not there, and of a null descriptor as stack segment of ring 3. */
#include "hostile.inc"
#include "faults.inc"
.macro SELECT register, value
        movl    $\value, %eax
        TRY     movw    %ax, %\register
.endm
        GUEST
        FAULTS
        BEGIN   "gdt-short"
        lgdt    flat_gdtr(%rip)
        SELECT  ds, 0x18
        SELECT  es, 0xfff8
        SELECT  fs, 0x20
        SELECT  gs, 0x7
        SELECT  ss, 0x3
        pushq   $0x18                   /* and as code segment */
        leaq    1f(%rip), %rax
        pushq   %rax
        TRY     lretq
1:      EXPECT  "gdt-short", 13, 4
        POWER_OFF
