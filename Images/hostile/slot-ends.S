/* Accesses of every width that begin in one memory slot, or in RAM, and end in the next, or in nothing: single, locked and
 * repeated.
 */
#include "hostile.inc"
#include "faults.inc"
.macro EDGE address
        .irp    offset, 1, 2, 3, 4, 5, 7
        movl    $\address - \offset, %ebx
        TRY     movw    (%rbx), %ax
        TRY     movw    %ax, (%rbx)
        TRY     movl    (%rbx), %eax
        TRY     movl    %eax, (%rbx)
        TRY     movq    (%rbx), %rax
        TRY     movq    %rax, (%rbx)
        TRY     xchgl   %eax, (%rbx)
        TRY     lock addq $1, (%rbx)
        TRY     lock cmpxchg8b (%rbx)
        TRY     lock btsl $31, (%rbx)
        TRY     pushq   (%rbx)
        TRY     popq    (%rbx)
        .irp    string, movsq, stosq, lodsq, scasq, cmpsq
        movl    $8, %ecx
        movl    %ebx, %esi
        movl    %ebx, %edi
        TRY     rep \string
        .endr
        .endr
.endm
        GUEST
        FAULTS
        BEGIN   "slot-ends"
        cld
        EDGE    0x1800000               /* the slots of 64 MiB of layout osv */
        EDGE    0x1a00000
        EDGE    0x4000000
        DONE    "slot-ends"
        POWER_OFF
