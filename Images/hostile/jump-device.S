/* Jumps into the registers of the local APIC. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        DEVICES
        BEGIN   "jump-device"
        movl    $APIC + 0x20, %ebx
        TRY     jmpq *%rbx
        DONE    "jump-device"
        STAY
