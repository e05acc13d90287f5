/* Jumps to an address that nothing maps, with an empty IDT: a triple fault. RIP and CR2 tell where it went. */
#include "hostile.inc"
        GUEST
        READY
        PRINT   "jump-nothing: jumping to 0x123456789000\n"
        lidt    nothing(%rip)
        movabsq $0x123456789000, %rax
        jmpq    *%rax
        .section .rodata
nothing:
        .word   0
        .quad   0
