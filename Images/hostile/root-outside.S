/* CR3 leads outside RAM: there is no table, so the next instruction cannot be fetched. */
#include "hostile.inc"
        GUEST
        BEGIN   "root-outside"
        movabsq $0x7ffffe000, %rax
        movq    %rax, %cr3
        DONE    "root-outside"
        STAY
