/* Each bit of each control register turned over, one at a time, and turned back if that was taken. */
#include "hostile.inc"
#include "faults.inc"
.macro BITS register, stays
        xorl    %ebp, %ebp
.Lbit\@:
        movl    $\stays, %eax           /* what this code could not go on without */
        btq     %rbp, %rax
        jc      .Lskip\@
        movq    %\register, %rbx
        movq    %rbx, %rax
        btcq    %rbp, %rax
        TRY     movq %rax, %\register
        TRY     movq %rbx, %\register
.Lskip\@:
        incl    %ebp
        cmpl    $64, %ebp
        jb      .Lbit\@
.endm
        GUEST
        FAULTS
        BEGIN   "cr-sweep"
        BITS    cr0, 0
        BITS    cr4, 0x1000
        BITS    cr8, 0
        movq    %cr3, %rax
        btsq    $62, %rax
        TRY     movq %rax, %cr3
        TRY     movq %rax, %cr2
        movl    $0xc0000080, %ecx
        xorl    %edx, %edx
        movl    $-1, %eax
        TRY     wrmsr
        xorl    %eax, %eax
        TRY     wrmsr
        DONE    "cr-sweep"
        POWER_OFF
