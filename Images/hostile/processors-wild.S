/* The other processors begin where no code is: in zeros, in the text of others, at the last page below 1 MiB. */
#include "processors.inc"
        GUEST
        FAULTS
        DEVICES
        movl    $0xffffffff, 0xff000
        BEGIN   "processors-wild"
        SEND    1, INIT
        SEND    2, INIT
        SEND    3, INIT
        WAIT
        SEND    1, SIPI + 0xff
        SEND    2, SIPI + 0x80
        SEND    3, SIPI + 0
        WAIT
        DONE    "processors-wild"
        STAY
