/* Where a program of panda begins: RSP at the end of an empty stack, and nothing is to return to. */
        .text
        .globl  _start
_start: xorl    %ebp, %ebp
        call    panda_start
        movq    %rax, %rdi
        movl    $60, %eax               /* VITRINE_SYS_EXIT */
        syscall
1:      jmp     1b
