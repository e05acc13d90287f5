/* Entries with reserved bits at every level, each touched; and a fetch from what may not be executed. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        BEGIN   "tables-reserved"
        leaq    boot_pd + LEAF(%rip), %rax
        movq    %rax, boot_pdpt + 16(%rip)      /* a leaf of 1 GiB, not aligned to 1 GiB */
        leaq    boot_pdpt + LEAF(%rip), %rax
        movq    %rax, boot_pml4 + 16(%rip)      /* level 4 has no leaves */
        movl    $0x2000e7, %eax
        btsq    $51, %rax
        movq    %rax, boot_pd + 128 * 8(%rip)   /* an address that no processor has */
        movl    $0x202000 + LEAF, %eax
        movq    %rax, boot_pd + 129 * 8(%rip)   /* 2 MiB, not aligned to 2 MiB */
        movl    $0x2000e7, %eax
        btsq    $63, %rax
        movq    %rax, boot_pd + 130 * 8(%rip)   /* not to be executed */
        movl    $0x80000000, %ebx
        TRY     movq    (%rbx), %rax
        movabsq $0x10000000000, %rbx
        TRY     movq    (%rbx), %rax
        TRY     movq    0x10000000, %rax
        TRY     movq    0x10200000, %rax
        movl    $0x10400000, %ebx
        TRY     jmpq    *%rbx
        EXPECT  "tables-reserved", 14, 4
        STAY
