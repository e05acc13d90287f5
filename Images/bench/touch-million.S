/* Maps 1,048,576 pages of 4 KiB at 0x8000000000, touches each from ring 3, and goes on touching them for ever: what reading a
 * guest with many second-stage mappings costs, and whether the guest notices.
 *
 * Ring 3 builds the tables as well: it runs natively on every host. Their pages are the RAM from 4 GiB to 8 GiB, so the guest
 * needs 7 GiB or more. What is at STATUS says how far it is (Tools/vitrine-bench/SecondStageFigures.swift):
 *
 *      0  1 when all pages were touched       16  the time stamp counter at the last step
 *      8  steps since then                    24  sum of the pauses between two steps that were longer than PAUSE
 *                                             32  the longest
 */
#include "hostile.inc"
        .set STATUS, 0x300000
        .set PAGES, 1 << 20
        .set TABLES, 0x10000000    /* 2,048 tables, then 4 directories, then a table of those */
        .set DIRECTORIES, TABLES + PAGES * 8
        .set POINTERS, DIRECTORIES + 4 * 4096
        .set AREA, 0x8000000000
        .set PAUSE, 100000         /* ticks: some ten microseconds */
        GUEST
        READY
        movq    $POINTERS + TABLE, %rax
        movq    %rax, boot_pml4+8
        lgdt    user_gdtr
        pushq   $0x1b
        pushq   $stack_top
        pushq   $2
        pushq   $0x23
        pushq   $ring3
        iretq

ring3:  movabsq $0x100000000 + TABLE, %rax
        movl    $TABLES, %edi
        movl    $PAGES, %ecx
1:      movq    %rax, (%rdi)
        addq    $8, %rdi
        addq    $4096, %rax
        decl    %ecx
        jnz     1b
        movl    $TABLES + TABLE, %eax
        movl    $2048 + 4, %ecx    /* the directories follow the tables, and are what their table refers to */
2:      movq    %rax, (%rdi)
        addq    $8, %rdi
        addq    $4096, %rax
        decl    %ecx
        jnz     2b

        movabsq $AREA, %rsi
        movl    $PAGES, %ecx
3:      movq    %rcx, (%rsi)
        addq    $4096, %rsi
        decl    %ecx
        jnz     3b
        movl    $STATUS, %ebx
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        movq    %rax, 16(%rbx)
        movq    $1, (%rbx)

4:      movabsq $AREA, %rsi
        movl    $PAGES, %ecx
5:      movq    %rcx, (%rsi)
        addq    $4096, %rsi
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        movq    %rax, %rdx
        subq    16(%rbx), %rdx
        movq    %rax, 16(%rbx)
        cmpq    $PAUSE, %rdx
        jb      6f
        addq    %rdx, 24(%rbx)
        cmpq    32(%rbx), %rdx
        jb      6f
        movq    %rdx, 32(%rbx)
6:      incq    8(%rbx)
        decl    %ecx
        jnz     5b
        jmp     4b

        .section .rodata
        .balign 8
user_gdt:
        .quad   0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff
user_gdtr:
        .word   39
        .quad   user_gdt
