/* The 8254 timer at the highest rate it can be asked for, and its interrupts through the 8259 pair; programmed anew between. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        DEVICES
        BEGIN   "pit-storm"
        OUT8    0x20, 0x11              /* the first 8259: vectors 0x40 and up, line 0 alone */
        OUT8    0x21, 0x40
        OUT8    0x21, 4
        OUT8    0x21, 1
        OUT8    0x21, 0xfe
        movl    $0x700, APIC + 0x350    /* LINT0 takes its interrupts */
        sti
1:      OUT8    0x43, 0x34              /* channel 0, rate generator */
        OUT8    0x40, 1
        OUT8    0x40, 0
        movl    $1000, %ecx
2:      pause
        decl    %ecx
        jnz     2b
        cmpl    $20, interrupts(%rip)
        jb      1b
        DONE    "pit-storm"
        OUT8    0x43, 0x30
        OUT8    0x43, 0x34
        OUT8    0x40, 1
        OUT8    0x40, 0
        STAY
