/* Reads and writes addresses that no slot backs, in all widths, across the end of a page, by strings and by a locked
 * exchange. Every read must give all ones. Prints what it found: "unbacked: all ones", or the number of wrong reads.
 */
#include "hostile.inc"
        .set NOWHERE, 0x3ff00000        /* below 1 GiB, above the RAM of a small guest */
.macro CHECK instruction, register
        \instruction NOWHERE + 0x10, \register
        call    check
        \instruction NOWHERE + 0xffd, \register
        call    check
.endm
        GUEST
        READY
        xorl    %ebx, %ebx              /* wrong reads */
        movq    $-1, %rax
        movb    $1, NOWHERE
        movw    $2, NOWHERE + 0xfff
        movl    $3, NOWHERE + 0xffe
        movq    $4, NOWHERE + 0xffc
        CHECK   movsbq, %rax
        CHECK   movswq, %rax
        CHECK   movslq, %rax
        CHECK   movq, %rax
        xorl    %eax, %eax
        lock xchgq %rax, NOWHERE
        call    check
        movl    $NOWHERE, %esi          /* 512 bytes out of nothing into RAM */
        leaq    stack(%rip), %rdi
        movl    $64, %ecx
        rep movsq
        movq    stack + 504(%rip), %rax
        call    check
        leaq    stack(%rip), %rsi       /* and back */
        movl    $NOWHERE, %edi
        movl    $64, %ecx
        rep movsq
        testl   %ebx, %ebx
        jnz     1f
        PRINT   "unbacked: all ones\n"
        POWER_OFF
1:      PRINT   "unbacked: a read was not all ones\n"
        movw    $PANIC, %dx
        movl    %ebx, %eax
        outl    %eax, %dx
        POWER_OFF
check:  incq    %rax                    /* all ones and one is nothing */
        jz      2f
        incl    %ebx
2:      ret
