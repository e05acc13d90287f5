/* Far returns to code segments that are none: null, data, beyond the table, in the LDT, of the wrong ring. */
#include "hostile.inc"
#include "faults.inc"
.macro GO selector
        movq    %rsp, %rbp
        pushq   $\selector
        leaq    .Lback\@(%rip), %rax
        pushq   %rax
        TRY     lretq
.Lback\@: movq  %rbp, %rsp
.endm
        GUEST
        FAULTS
        BEGIN   "cs-wrong"
        lgdt    flat_gdtr(%rip)
        GO      0
        GO      0x10
        GO      0xfff8
        GO      0xc
        GO      0x9
        EXPECT  "cs-wrong", 13, 4
        POWER_OFF
