/* Entry, the boot page tables and the AP trampoline.
 *
 * Defines entry64 (direct entry: 64-bit mode, paging on), entry32 (PVH: 32-bit mode, paging off), the boot tables of
 * stage A (only PML4[0]: PA 0-1 GiB as 512 leaves of 2 MiB) and the code that is copied to PA 0x5000 for the APs.
 */
#include "kernel.h"

    .section .note.vitrine, "a", @note
    .p2align 2
    .long 8, 16, 1
    .asciz "Vitrine"
    .quad entry64, boot_pml4

    .section .note.xen, "a", @note
    .p2align 2
    .long 4, 8, 18
    .asciz "Xen"
    .quad entry32

    .section .data.boottables, "aw"
    .p2align 12
    .global boot_pml4
boot_pml4:
    .quad boot_pdpt + 0x67
    .fill 511, 8, 0
boot_pdpt:
    .quad boot_pd + 0x67
    .fill 511, 8, 0
    .global boot_pd
boot_pd:
    .set address, 0
    .rept 512
    .quad address + 0xe7
    .set address, address + 0x200000
    .endr

    /* Used between the two modes, by the boot processor under PVH and by every AP. */
    .p2align 3
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff    /* 0x08: 64-bit code */
    .quad 0x00cf93000000ffff    /* 0x10: data */
    .quad 0x00cf9b000000ffff    /* 0x18: 32-bit code */
boot_gdt_pointer:
    .word . - boot_gdt - 1
    .long boot_gdt

    .section .bss.bootstack, "aw", @nobits
    .p2align 12
    .fill BOOT_STACK_SIZE
boot_stack_top:

    .section .text.boot, "ax"
    .code64
    .global entry64
entry64:
    lea boot_stack_top(%rip), %rsp
    xor %ebp, %ebp
    call kernel_main
1:  hlt
    jmp 1b

    .code32
entry32:
    mov %ebx, %edi
    mov $boot_pml4, %eax
    mov %eax, %cr3
    mov $boot_gdt_pointer, %eax
    lgdt (%eax)
    mov $CR4_PAE, %eax
    mov %eax, %cr4
    mov $MSR_EFER, %ecx
    mov $EFER_LME_NXE, %eax
    xor %edx, %edx
    wrmsr
    mov $CR0_LONG_MODE, %eax
    mov %eax, %cr0
    ljmp $0x08, $1f
    .code64
1:  mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %edi, %edi
    jmp entry64

/* The AP trampoline: position AP_TRAMPOLINE, real mode, CS = AP_TRAMPOLINE >> 4. */
    .code16
    .global trampoline_start, trampoline_end
trampoline_start:
    cli
    mov %cs, %ax
    mov %ax, %ds
    lgdtl trampoline_gdt_pointer - trampoline_start
    mov $CR4_PAE, %eax
    mov %eax, %cr4
    mov $boot_pml4, %eax
    mov %eax, %cr3
    mov $MSR_EFER, %ecx
    mov $EFER_LME_NXE, %eax
    xor %edx, %edx
    wrmsr
    mov $CR0_LONG_MODE, %eax
    mov %eax, %cr0
    ljmpl $0x08, $ap_entry64
    .p2align 2
trampoline_gdt_pointer:
    .word 31
    .long boot_gdt
trampoline_end:

    .code64
ap_entry64:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov ap_boot_cr3(%rip), %rax
    mov %rax, %cr3
    mov ap_boot_stack(%rip), %rsp
    mov ap_boot_cpu(%rip), %rdi
    xor %ebp, %ebp
    call ap_main
1:  hlt
    jmp 1b

    .section .note.GNU-stack, "", @progbits
