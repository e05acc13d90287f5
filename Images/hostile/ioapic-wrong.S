/* The I/O APIC with ones in every entry, level-triggered lines, processors that are not there. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        DEVICES
        BEGIN   "ioapic-wrong"
        sti
        xorl    %ebp, %ebp
        movl    $0x8040, %ebx           /* level, vector 0x40 and up */
1:      xorl    %ecx, %ecx
2:      movl    %ecx, IOAPIC            /* every register, the version and those that are none too */
        movl    %ebx, IOAPIC + 0x10
        movl    IOAPIC + 0x10, %eax
        movl    $-1, IOAPIC + 0x10
        movl    %ebx, IOAPIC + 0x10
        movb    %cl, IOAPIC + 0x40
        movq    %rax, IOAPIC + 0xffc
        incl    %ecx
        cmpl    $256, %ecx
        jb      2b
        OUT8    SERIAL + 1, 2           /* the line of COM1, up and down */
        OUT8    SERIAL + 4, 8
        OUT8    SERIAL + 4, 0
        OUT8    SERIAL + 1, 0
        imull   $0x9e3779b9, %ebx, %ebx
        orb     $0x40, %bl              /* no vector of a fault */
        incl    %ebp
        cmpl    $8, %ebp
        jb      1b
        cli
        DONE    "ioapic-wrong"
        POWER_OFF
