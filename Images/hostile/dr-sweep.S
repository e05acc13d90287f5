/* Debug registers with every bit: breakpoints on every address and the gates themselves, general detect, single steps. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        BEGIN   "dr-sweep"
        movabsq $0xffffffff00000000, %rax
        .irp    register, dr0, dr1, dr2, dr3, dr6, dr7
        movq    $-1, %rbx
        TRY     movq %rax, %\register
        TRY     movq %rbx, %\register
        TRY     movq %\register, %rcx
        .endr
        leaq    scratch(%rip), %rax
        TRY     movq %rax, %dr0
        movl    $0xf0703, %eax          /* DR0: reads and writes of 4 bytes */
        TRY     movq %rax, %dr7
        movl    $100, %ebx
1:      TRY     movl %eax, scratch(%rip)
        decl    %ebx
        jnz     1b
        movl    $0x2400, %eax           /* general detect */
        TRY     movq %rax, %dr7
        TRY     movq %rax, %dr7
        TRY     movq %rax, %dr7
        movl    $100, %ebx
2:      pushfq
        orl     $0x100, (%rsp)
        TRY     popfq
        nop
        decl    %ebx
        jnz     2b
        xorl    %eax, %eax
        TRY     movq %rax, %dr7
        DONE    "dr-sweep"
        POWER_OFF
        .bss
        .balign 8
scratch: .skip  8
