/* A fault while the double fault is handed over: the gates of #UD, #NP, #GP and #DF are not present. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        BEGIN   "triple-fault"
        .irp    vector, 6, 8, 11, 13
        movb    $0x0e, idt + \vector * 16 + 5(%rip)
        .endr
        ud2
        DONE    "triple-fault"
        POWER_OFF
