/* Reports ready and then loops for ever with interrupts off: it answers nothing, and it never leaves by itself. */
#include "hostile.inc"
        GUEST
        READY
        PRINT   "spin: looping\n"
1:      pause
        jmp     1b
