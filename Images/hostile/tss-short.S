/* A TSS that ends before its stacks, and lies where no memory is; then a fault in ring 3. */
#include "hostile.inc"
#include "faults.inc"
#include "ring3.inc"
        GUEST
        FAULTS
        BEGIN   "tss-short"
        movb    $0x3f, tss_descriptor + 7(%rip)
        TASKS   limit=3
        RING3   1f
1:      ud2
        jmp     1b
