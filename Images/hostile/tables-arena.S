/* Writes what looks like entries over the whole arena of page tables, for ever: each page of it is dirty at every look. */
#include "hostile.inc"
        GUEST
        BEGIN   "tables-arena"
        leaq    boot_pml4(%rip), %rax           /* the root refers to the arena, so that it is part of the tables */
        movl    $0x1800000 + TABLE, %ecx
        movq    %rcx, 256 * 8(%rax)
        xorl    %ebp, %ebp
1:      movl    $0x1800000, %edi
2:      leal    0x1000(%rdi), %eax              /* the next page, so that the depth never ends */
        orl     $TABLE, %eax
        movq    %rax, (%rdi)
        movq    %rbp, 2048(%rdi)
        notq    4088(%rdi)
        addl    $4096, %edi
        cmpl    $0x1a00000, %edi
        jb      2b
        incl    %ebp
        cmpl    $16, %ebp
        jne     1b
        DONE    "tables-arena"
        jmp     1b
