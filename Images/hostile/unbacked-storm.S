/* Reads and writes where no memory is, in every width, for ever. */
#include "hostile.inc"
        GUEST
        BEGIN   "unbacked-storm"
        movl    $0x3ff00000, %ebx
        movl    $3000, %ebp
1:      movb    %al, 1(%rbx)
        movw    (%rbx), %ax
        movl    %eax, 4094(%rbx)
        movq    (%rbx), %rax
        lock incl (%rbx)
        decl    %ebp
        jnz     1b
        DONE    "unbacked-storm"
        jmp     1b
