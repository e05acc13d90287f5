/* Resets through the keyboard controller as soon as it runs, again and again. */
#include "hostile.inc"
        GUEST
        BEGIN   "reset-keyboard"
        DONE    "reset-keyboard"
        OUT8    KEYBOARD, 0xd1
        OUT8    KEYBOARD, 0xfe
        STAY
