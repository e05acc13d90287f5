/* The gate of address line 20 by both its ways: addresses never wrap at 1 MiB. */
#include "hostile.inc"
        GUEST
        BEGIN   "a20"
        OUT8    0x92, 0
        OUT8    KEYBOARD, 0xd1
        OUT8    0x60, 0xdd
        movl    $0x11111111, 0x4000
        movl    $0x22222222, 0x104000
        cmpl    $0x11111111, 0x4000
        jne     1f
        OUT8    0x92, 2
        OUT8    KEYBOARD, 0xd1
        OUT8    0x60, 0xdf
        cmpl    $0x22222222, 0x104000
        jne     1f
        DONE    "a20"
1:      POWER_OFF
