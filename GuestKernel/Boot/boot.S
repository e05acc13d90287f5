/* Entry, the boot page tables and the AP trampoline.
 *
 * Defines entry64 (direct entry: 64-bit mode, paging on), entry32 (PVH: 32-bit mode, paging off), the boot tables of
 * stage A (PML4[0]: PA 0-1 GiB as 512 leaves of 2 MiB; the same GiB once more where the kernel is linked, if that is not
 * VA = PA) and the code that is copied to PA 0x5000 for the APs.
 *
 * Sections .boot.* are linked at their physical addresses, everything else at physical + vitrine_offset (kernel.ld): from
 * here the kernel proper is reached by 64-bit addresses only.
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

    .section .boot.data, "aw"
    .p2align 12
    .global boot_pml4
boot_pml4:
    .quad boot_pdpt + 0x67
    .fill 511, 8, 0
boot_pdpt:
    .quad boot_pd + 0x67
    .fill 511, 8, 0
boot_pdpt_high:
    .fill 512, 8, 0
    .global boot_pd
boot_pd:
    .set address, 0
    .rept 512
    .quad address + 0xe7
    .set address, address + 0x200000
    .endr
    /* The first of these leaves as 512 of 4 KiB. Nothing refers to it: the kernel copies from here and from boot_pd what its own
     * tables have as well (PageTable.fill). */
    .global boot_pt
boot_pt:
    .set address, 0
    .rept 512
    .quad address + 0x67
    .set address, address + 0x1000
    .endr

    /* Used between the two modes by the boot processor under PVH; APs have their own (Processor.swift). */
    .p2align 3
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff    /* 0x08: 64-bit code */
    .quad 0x00cf93000000ffff    /* 0x10: data */
    .quad 0x00cf9b000000ffff    /* 0x18: 32-bit code */
boot_gdt_pointer:
    .word . - boot_gdt - 1
    .long boot_gdt
    .p2align 3

    .section .bss.bootstack, "aw", @nobits
    .p2align 12
    .fill BOOT_STACK_SIZE
boot_stack_top:

    .section .boot.text, "ax"
    .code64
    .global entry64
entry64:
    mov linked_offset(%rip), %rax
    test %rax, %rax
    jz 2f
    /* PML4[i] -> PDPT[j] -> boot_pd, i and j from where the kernel is linked; boot_pdpt itself where i or j is 0. */
    mov %rax, %rcx
    shr $39, %rcx
    and $511, %ecx
    shr $30, %rax
    and $511, %eax
    lea boot_pdpt(%rip), %rdx
    test %ecx, %ecx
    jz 1f
    test %eax, %eax
    jz 1f
    lea boot_pdpt_high(%rip), %rdx
1:  lea boot_pd + 0x67(%rip), %rsi
    mov %rsi, (%rdx, %rax, 8)
    add $0x67, %rdx
    lea boot_pml4(%rip), %rsi
    mov %rdx, (%rsi, %rcx, 8)
2:  movabs $boot_stack_top, %rsp
    xor %ebp, %ebp
    movabs $kernel_main, %rax
    call *%rax
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

/* The AP trampoline: at Contract.trampoline, real mode, CS = its segment. The page behind it begins with the GDTR. */
    .code16
    .global trampoline_start, trampoline_end
trampoline_start:
    cli
    mov %cs, %ax
    mov %ax, %ds
    lgdtl 0x1000
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
trampoline_end:

    .code64
ap_entry64:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    movabs $ap_entry_linked, %rax
    jmp *%rax

    /* Where the kernel is linked: its own tables need not have the low alias. */
    .text
ap_entry_linked:
    mov ap_boot_cr3(%rip), %rax
    mov %rax, %cr3
    mov ap_boot_stack(%rip), %rsp
    mov ap_boot_cpu(%rip), %rdi
    xor %ebp, %ebp
    call ap_main
1:  hlt
    jmp 1b

    /* What the kernel proper wants to know of the sections that are linked elsewhere. */
    .section .rodata.boot, "a"
    .p2align 3
    .global boot_pml4_word, boot_pd_word, boot_pt_word, trampoline_start_word, trampoline_end_word
boot_pml4_word: .quad boot_pml4
boot_pd_word: .quad boot_pd
boot_pt_word: .quad boot_pt
trampoline_start_word: .quad trampoline_start
trampoline_end_word: .quad trampoline_end

    .section .note.GNU-stack, "", @progbits
