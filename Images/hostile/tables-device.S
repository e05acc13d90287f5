/* Entries of every level that refer to device registers: the local APIC, the I/O APIC, the hole below 4 GiB. It touches an
 * address through each.
 */
#include "hostile.inc"
#include "faults.inc"
.macro DEVICE table, index, device
        movl    $\device + TABLE, %eax
        movq    %rax, \table + 8 * \index(%rip)
.endm
        GUEST
        FAULTS
        BEGIN   "tables-device"
        DEVICE  boot_pml4, 2, 0xfee00000
        DEVICE  boot_pml4, 3, 0xfec00000
        DEVICE  boot_pdpt, 2, 0xfee00000
        DEVICE  boot_pdpt, 3, 0xfffff000
        DEVICE  boot_pd, 128, 0xfee00000
        DEVICE  boot_pd, 129, 0xe0000000
        movabsq $0x10000000000, %rbx
        TRY     movq    (%rbx), %rax
        movabsq $0x18000000000, %rbx
        TRY     movq    %rax, (%rbx)
        movl    $0x80000000, %ebx
        TRY     movq    (%rbx), %rax
        movl    $0xc0000000, %ebx
        TRY     movq    %rax, (%rbx)
        TRY     movq    0x10000000, %rax
        TRY     movq    0x10200000, %rax
        DONE    "tables-device"
        STAY
