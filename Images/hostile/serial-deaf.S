/* Never reads what it is sent, with the receiver's interrupt on and nobody to take it. */
#include "hostile.inc"
        GUEST
        BEGIN   "serial-deaf"
        OUT8    SERIAL + 2, 0xc1
        OUT8    SERIAL + 4, 0x0b
        OUT8    SERIAL + 1, 0x0f
        OUT8    MONITOR + 2, 0xc1
        OUT8    MONITOR + 4, 0x0b
        OUT8    MONITOR + 1, 0x0f
        DONE    "serial-deaf"
        STAY
