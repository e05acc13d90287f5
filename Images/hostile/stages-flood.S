/* Stages, in order once and then in every order, for ever, in every width. */
#include "hostile.inc"
        GUEST
        BEGIN   "stages-flood"
        movl    $5000, %ebx
0:      movw    $STAGE, %dx
1:      movl    %ebx, %eax
        outb    %al, %dx
        outw    %ax, %dx
        outl    %eax, %dx
        inl     %dx, %eax
        decl    %ebx
        jnz     1b
        DONE    "stages-flood"
        jmp     0b
