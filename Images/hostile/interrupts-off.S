/* Masks everything and loops with a busy timer: nothing outside can make it answer, not even an NMI that it sends itself. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        DEVICES
        BEGIN   "interrupts-off"
        movl    $0x20040, APIC + 0x320
        movl    $1, APIC + 0x380
        movl    $100000, %ecx
1:      pause
        decl    %ecx
        jnz     1b
        cmpl    $0, interrupts(%rip)
        jne     2f
        DONE    "interrupts-off"
2:      STAY
