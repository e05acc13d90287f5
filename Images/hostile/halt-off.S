/* Halts with interrupts off: nothing in this guest will ever happen again. */
#include "hostile.inc"
        GUEST
        READY
        PRINT   "halt-off: halting with interrupts off\n"
        cli
1:      hlt
        jmp     1b
