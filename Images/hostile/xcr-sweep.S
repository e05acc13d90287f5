/* XSETBV and XGETBV of every register, with features that exclude each other, all of them, and none. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        BEGIN   "xcr-sweep"
        movq    %cr4, %rax
        orl     $0x40000, %eax
        TRY     movq %rax, %cr4
        xorl    %ebp, %ebp
1:      .irp    value, 0, 1, 2, 3, 4, 6, 0xff, 0x7fffffff, 0xffffffff
        movl    %ebp, %ecx
        movl    $\value, %eax
        xorl    %edx, %edx
        TRY     xsetbv
        movl    $-1, %edx
        movl    %ebp, %ecx
        TRY     xsetbv
        .endr
        movl    %ebp, %ecx
        TRY     xgetbv
        incl    %ebp
        cmpl    $16, %ebp
        jb      1b
        DONE    "xcr-sweep"
        POWER_OFF
