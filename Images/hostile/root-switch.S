/* Changes CR3 between 64 roots as fast as it can; each maps something else in its upper half. */
#include "hostile.inc"
        .set ROOTS, 0x800000
        GUEST
        BEGIN   "root-switch"
        cld
        movl    $ROOTS, %edi
        movl    $64, %ebx
1:      leaq    boot_pml4(%rip), %rsi
        movl    $512, %ecx
        rep movsq
        leaq    boot_pdpt + TABLE(%rip), %rax
        leaq    256(%rbx), %rcx
        movq    %rax, -4096(%rdi,%rcx,8)
        decl    %ebx
        jnz     1b
        movl    $1000, %ebp
2:      movl    $ROOTS, %eax
        movl    $64, %ecx
3:      movq    %rax, %cr3
        addl    $4096, %eax
        decl    %ecx
        jnz     3b
        decl    %ebp
        jnz     2b
        DONE    "root-switch"
        jmp     2b
