/* Writes the instruction that comes next, in the same page and by another address, thousands of times. */
#include "hostile.inc"
        GUEST
        BEGIN   "self-modifying"
        movabsq $0x200000 + LEAF, %rax
        movq    %rax, boot_pd + 128 * 8(%rip)   /* this code again, at VA 0x10000000 */
        leaq    2f + 1(%rip), %rbx
        leaq    0x10000000 - 0x200000(%rbx), %rdi
        xorl    %ebp, %ebp
1:      incl    %ebp
        movl    %ebp, (%rbx)
2:      movl    $0, %eax                /* its operand is written */
        cmpl    %eax, %ebp
        jne     3f
        notl    %eax
        movl    %eax, (%rdi)
        movb    $0xb8, -1(%rbx)
        cmpl    $20000, %ebp
        jb      1b
        DONE    "self-modifying"
        POWER_OFF
3:      PRINT   "self-modifying: the old instruction ran\n"
        STAY
