/* What a program's entry returns to. */
        .text
        .globl  program_returned, user_start, user_start_end

/* Ring 0: the status is in RAX, the stack is aligned again. */
program_returned:
        movq    %rax, %rdi
        call    service_exit

/* Ring 3: copied to the start page of each program. */
user_start:
        movq    %rax, %rdi
        movl    $60, %eax               /* VITRINE_SYS_EXIT */
        syscall
1:      jmp     1b
user_start_end:

        .section .note.GNU-stack, "", @progbits
