/* Where a program begins that Linux starts: RSP points to argc, and nothing is to return to. */
        .text
        .globl  _start, linux_system_call
        .type   linux_system_call, @function
_start: xorl    %ebp, %ebp
        movq    %rsp, %rdi
        andq    $-16, %rsp
        call    linux_start
        movl    %eax, %edi
        movl    $231, %eax              /* exit_group */
        syscall
1:      jmp     1b

/* int64_t linux_system_call(uint64_t number, uint64_t x 5) */
linux_system_call:
        movq    %rdi, %rax
        movq    %rsi, %rdi
        movq    %rdx, %rsi
        movq    %rcx, %rdx
        movq    %r8, %r10
        movq    %r9, %r8
        xorl    %r9d, %r9d
        syscall
        ret
