/* Rewrites its page tables for ever while they are read: entries of every level change between a table, a leaf, nothing,
 * a loop, reserved bits and addresses far outside RAM. Only the entries under which this code runs stay as they are.
 */
#include "hostile.inc"
        GUEST
        READY
        PRINT   "tables-rewrite: rewriting\n"
        leaq    values(%rip), %rsi
        xorl    %ebx, %ebx              /* which value comes next */
1:      movl    $511, %ecx
2:      movq    (%rsi,%rbx,8), %rax
        leaq    boot_pml4(%rip), %rdi
        movq    %rax, (%rdi,%rcx,8)
        leaq    boot_pdpt(%rip), %rdi
        movq    %rax, (%rdi,%rcx,8)
        cmpl    $2, %ecx                /* PD[0] and PD[1] carry this code */
        jb      3f
        leaq    boot_pd(%rip), %rdi
        movq    %rax, (%rdi,%rcx,8)
3:      incl    %ebx
        andl    $7, %ebx
        decl    %ecx
        jnz     2b
        incl    %ebx                    /* so that an entry has another value in the next round */
        andl    $7, %ebx
        jmp     1b
        .section .rodata
        .balign 8
values: .quad   boot_pdpt + TABLE, boot_pd + TABLE, 0, boot_pml4 + TABLE
        .quad   0x000ffffffffff000 + TABLE, 0x00000000c0000000 + LEAF, 0xffffffffffffffff, 0x400000 + LEAF
