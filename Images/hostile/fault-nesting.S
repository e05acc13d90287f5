/* The handler of page faults faults itself, and so on down its stack, through the page tables that lie below it. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        leaq    nested(%rip), %rax
        movw    %ax, idt + 14 * 16(%rip)
        shrl    $16, %eax
        movw    %ax, idt + 14 * 16 + 6(%rip)
        BEGIN   "fault-nesting"
nested: movq    0x70000000, %rax
        jmp     nested
