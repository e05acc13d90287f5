/* Jumps to where no memory is. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        BEGIN   "jump-unbacked"
        movl    $0x3ff00000, %ebx
        TRY     jmpq *%rbx
        DONE    "jump-unbacked"
        STAY
