/* Instructions of more than 15 bytes, over the end of a page into nothing, and over the end of the addresses. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        BEGIN   "instruction-long"
        movq    $0, boot_pd + 129 * 8(%rip)
        movl    $0x103fffff, %ebx       /* the last byte before a page that is not mapped */
        TRY     movb $0x66, -0x200000(%rbx)
        subl    $0x200000, %ebx
        TRY     jmpq *%rbx
        .irp    length, 14, 15, 16, 40
        leaq    prefixes_end - \length(%rip), %rbx
        TRY     jmpq *%rbx
        .endr
        movq    $-1, %rbx
        TRY     jmpq *%rbx
        DONE    "instruction-long"
        POWER_OFF
        .fill   64, 1, 0x66
prefixes_end:
        nop
        ud2
