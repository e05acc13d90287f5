/* Where a task of resea begins: nothing lies on its stack to return to. */
        .section .text.start, "ax"
        .globl  task_start
task_start:
        call    _start
        movq    %rax, %rdi
        movl    $60, %eax               /* VITRINE_SYS_EXIT */
        syscall
1:      jmp     1b

        .section .note.GNU-stack, "", @progbits
