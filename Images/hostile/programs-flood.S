/* Ends of programs that never were, for ever: an event each for who listens. */
#include "hostile.inc"
        GUEST
        BEGIN   "programs-flood"
        movl    $10000, %ebx
0:      movw    $PROGRAM, %dx
1:      movl    %ebx, %eax
        shll    $12, %eax
        outl    %eax, %dx
        decl    %ebx
        jnz     1b
        DONE    "programs-flood"
        jmp     0b
