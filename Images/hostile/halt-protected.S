/* Leaves 64-bit mode for 32-bit compatibility mode, writes a port there, and halts with interrupts off. */
#include "hostile.inc"
        GUEST
        BEGIN   "halt-protected"
        lgdt    own_gdtr(%rip)
        pushq   $0x18
        leaq    1f(%rip), %rax
        pushq   %rax
        lretq
        .code32
1:      movl    $text, %esi
        movw    $SERIAL, %dx
2:      lodsb
        testb   %al, %al
        jz      3f
        outb    %al, %dx
        jmp     2b
3:      cli
        hlt
        jmp     3b
        .code64
        .section .rodata
text:   .asciz  "halt-protected: done\n"
        .balign 8
own_gdt: .quad  0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff
own_gdtr: .word 31
        .quad   own_gdt
