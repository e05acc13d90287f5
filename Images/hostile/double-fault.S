/* A page fault whose gate is not present: a double fault, which has one. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        BEGIN   "double-fault"
        movb    $0x0e, idt + 14 * 16 + 5(%rip)
        movb    $0x0e, idt + 11 * 16 + 5(%rip)
        movabsq $0x123456789000, %rbx
        TRY     movq (%rbx), %rax
        EXPECT  "double-fault", 8, 1
        POWER_OFF
