/* Hypercalls of every vendor with numbers that are none, and what only a hypervisor or a monitor may do. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        BEGIN   "hypercalls"
        xorl    %ebp, %ebp
1:      movl    %ebp, %eax
        movq    $-1, %rbx
        movq    $-1, %rcx
        movq    $-1, %rdx
        movq    $-1, %rsi
        TRY     vmcall
        movl    %ebp, %eax
        TRY     vmmcall
        incl    %ebp
        cmpl    $24, %ebp
        jb      1b
        TRY     vmxoff
        TRY     vmlaunch
        xorl    %eax, %eax
        TRY     vmload %rax
        TRY     vmsave %rax
        TRY     vmrun %rax
        TRY     skinit
        TRY     stgi
        TRY     rsm
        TRY     wbinvd
        TRY     invd
        xorl    %ecx, %ecx
        TRY     rdpmc
        movl    $-1, %ecx
        TRY     rdpmc
        DONE    "hypercalls"
        POWER_OFF
