/* Page tables of different levels that point into each other: the root's entries to the directory, the directory's to the
 * PDPT, the PDPT's to the root, so that every table is one of every level.
 */
#include "hostile.inc"
.macro ENTRIES table, target
        leaq    \table(%rip), %rdi
        leaq    \target(%rip), %rax
        addq    $TABLE, %rax
        movl    $511, %ecx
.Lnext\@: movq  %rax, (%rdi,%rcx,8)
        decl    %ecx
        cmpl    $2, %ecx                /* PD[0] and PD[1] carry this code */
        jae     .Lnext\@
.endm
        GUEST
        BEGIN   "tables-each-other"
        ENTRIES boot_pml4, boot_pd
        ENTRIES boot_pdpt, boot_pml4
        ENTRIES boot_pd, boot_pdpt
        DONE    "tables-each-other"
        STAY
