/* Interrupts of COM1 as fast as the transmitter's can be switched on and off, taken and left alone. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        DEVICES
        BEGIN   "serial-interrupts"
        movl    $0x18, IOAPIC           /* line 4: vector 0x40, edge, to processor 0 */
        movl    $0x40, IOAPIC + 0x10
        movl    $0x19, IOAPIC
        movl    $0, IOAPIC + 0x10
        OUT8    SERIAL + 4, 0x08
        sti
1:      OUT8    SERIAL + 1, 2
        OUT8    SERIAL + 1, 0
        cmpl    $2000, interrupts(%rip)
        jb      1b
        cli
        DONE    "serial-interrupts"
        sti
2:      OUT8    SERIAL + 1, 2
        OUT8    SERIAL + 1, 0
        jmp     2b
