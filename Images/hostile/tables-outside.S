/* Page tables that point outside RAM, at every level: into the hole below 4 GiB, just past the end of any sensible RAM, to
 * the last page a physical address can name; and leaves there too. It writes through one of those leaves.
 */
#include "hostile.inc"
        .set HOLE, 0xd0000000
        .set LAST, 0x000ffffffffff000
        .set FAR, 0x0000007fffe00000
        GUEST
        movabsq $LAST + TABLE, %rax
        movabsq $FAR + TABLE, %rbx
        movl    $HOLE + TABLE, %ecx
        leaq    boot_pml4(%rip), %rdi
        call    point
        leaq    boot_pdpt(%rip), %rdi
        call    point
        leaq    boot_pd(%rip), %rdi
        call    point
        movabsq $FAR + LEAF, %rax
        movq    %rax, 1024(%rdi)        /* 2 MiB leaf at VA 0x10000000 */
        READY
        movq    $0x55, 0x10000000       /* swallowed */
        movq    0x10000000, %rax        /* all ones */
        incq    %rax
        jnz     1f
        PRINT   "tables-outside: unbacked leaf reads all ones\n"
1:      pause
        jmp     1b
point:  movq    %rax, 2048(%rdi)
        movq    %rbx, 2056(%rdi)
        movq    %rcx, 2064(%rdi)
        ret
