/* Overwrites its own code, stack and page tables, and all that follows. */
#include "hostile.inc"
        GUEST
        BEGIN   "overwrite"
        cld
        movl    $0x200000, %edi
        movl    $0x100000, %ecx
        movabsq $0xcccccccccccccccc, %rax
        rep stosq
1:      ud2
        jmp     1b
