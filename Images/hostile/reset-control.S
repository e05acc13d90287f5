/* Resets through the reset control register in each of its ways, again and again. */
#include "hostile.inc"
        GUEST
        BEGIN   "reset-control"
        DONE    "reset-control"
        OUT8    RESET, 2
        OUT8    RESET, 0xe
        STAY
