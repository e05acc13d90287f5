/* Reports the first stage twice and the last not at all, then powers off. */
#include "hostile.inc"
        GUEST
        PRINT   "stages-cut: begins\n"
        OUT8    STAGE, 'A'
        OUT8    STAGE, 'A'
        DONE    "stages-cut"
        POWER_OFF
