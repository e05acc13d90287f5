/* Page tables that loop. Every entry of the root but the first refers to the root itself, every entry of the PDPT but the
 * first to the PDPT, and the last two of the directory to the directory and the root as page tables: a reader that follows
 * each path visits 2^36 leaves, and one that does not bound its depth never ends.
 */
#include "hostile.inc"
        GUEST
        leaq    boot_pml4(%rip), %rdi
        call    loop_all
        leaq    boot_pdpt(%rip), %rdi
        call    loop_all
        leaq    boot_pd(%rip), %rdi     /* PD[511]: the directory as a page table of itself */
        leaq    TABLE(%rdi), %rax
        movq    %rax, 4088(%rdi)
        leaq    boot_pml4(%rip), %rax   /* PD[510]: the root as a page table */
        addq    $TABLE, %rax
        movq    %rax, 4080(%rdi)
        READY
        PRINT   "tables-loop: every table refers to itself\n"
1:      pause
        jmp     1b
loop_all:                               /* entries 1...511 of the table at RDI refer to the table */
        leaq    TABLE(%rdi), %rax
        movl    $511, %ecx
2:      movq    %rax, (%rdi,%rcx,8)
        decl    %ecx
        jnz     2b
        ret
