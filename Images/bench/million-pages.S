/* A guest that maps 1,048,576 pages of 4 KiB and then sleeps: what watching its page tables costs, and how soon a change is
 * seen. All its tables lie in the page-table arena. Each byte that comes in on the console flips the writable bit of one
 * page and is answered by a point. It wants 1 GiB of RAM: then the arena holds its 2,055 tables.
 *
 *     ARENA + 0 PML4 | 1 PDPT | 2 PD: the first GiB 1:1, large pages | 3-6 PD of 4-8 GiB | 7... 2,048 PT, the first GiB four times
 */
#include "hostile.inc"
        .set ARENA, 0x1800000
        .set PDPT, ARENA + 0x1000
        .set PD, ARENA + 0x2000
        .set DIRECTORIES, ARENA + 0x3000
        .set TABLES, ARENA + 0x7000
        .set FLIPPED, TABLES + 1000 * 4096 + 5 * 8
        .set PIC, 0x20
        .set SECOND_PIC, 0xa0
        GUEST
        READY
        /* The tables of a GiB, then three copies of them. */
        movl    $TABLES, %edi
        movl    $TABLE, %eax
        movl    $262144 / 8, %ecx
1:      .rept   8
        stosq
        addq    $0x1000, %rax
        .endr
        decl    %ecx
        jnz     1b
        movl    $TABLES, %esi
        movl    $3 * 262144, %ecx
        rep     movsq
        /* The directories. */
        movl    $DIRECTORIES, %edi
        movl    $TABLES + TABLE, %eax
        movl    $2048, %ecx
2:      stosq
        addq    $0x1000, %rax
        decl    %ecx
        jnz     2b
        movl    $PD, %edi
        movl    $LEAF, %eax
        movl    $512, %ecx
3:      stosq
        addq    $0x200000, %rax
        decl    %ecx
        jnz     3b
        movq    $PD + TABLE, PDPT
        movq    $DIRECTORIES + TABLE, PDPT + 4 * 8
        movq    $DIRECTORIES + 0x1000 + TABLE, PDPT + 5 * 8
        movq    $DIRECTORIES + 0x2000 + TABLE, PDPT + 6 * 8
        movq    $DIRECTORIES + 0x3000 + TABLE, PDPT + 7 * 8
        movq    $PDPT + TABLE, ARENA
        movl    $ARENA, %eax
        movq    %rax, %cr3
        /* Vector 0x24 is IRQ 4, the console. */
        leaq    received(%rip), %rax
        leaq    idt(%rip), %rdi
        addq    $0x24 * 16, %rdi
        movw    %ax, (%rdi)
        shrq    $16, %rax
        movw    %ax, 6(%rdi)
        shrq    $16, %rax
        movl    %eax, 8(%rdi)
        movw    $0x8e00, 4(%rdi)
        movw    $8, 2(%rdi)
        lidt    idtr(%rip)
        /* The 8259A pair: vectors from 0x20, nothing but IRQ 4 (data sheet, ICW1-ICW4, OCW1). */
        OUT8    PIC, 0x11
        OUT8    SECOND_PIC, 0x11
        OUT8    PIC + 1, 0x20
        OUT8    SECOND_PIC + 1, 0x28
        OUT8    PIC + 1, 4
        OUT8    SECOND_PIC + 1, 2
        OUT8    PIC + 1, 1
        OUT8    SECOND_PIC + 1, 1
        OUT8    PIC + 1, 0xef
        OUT8    SECOND_PIC + 1, 0xff
        /* The UART: OUT2 lets its interrupt through, which received bytes raise. */
        OUT8    SERIAL + 4, 0x0b
        OUT8    SERIAL + 1, 1
        OUT8    SERIAL, '!'
4:      sti
        hlt
        jmp     4b

received:
        pushq   %rax
        pushq   %rdx
        movw    $SERIAL, %dx
        inb     %dx, %al
        xorq    $2, FLIPPED
        OUT8    SERIAL, '.'
        OUT8    PIC, 0x20
        popq    %rdx
        popq    %rax
        iretq

        .data
        .balign 16
idt:    .fill   256 * 16, 1, 0
idtr:   .word   256 * 16 - 1
        .quad   idt
