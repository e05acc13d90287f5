/* What compiled code of a program expects to find, and the one instruction that Swift cannot say. String instructions: where
 * ring 0 is emulated a repetition costs one instruction in 1,024.
 */
        .text
        .globl  memcpy, memmove, memset, vitrine_system_call, vitrine_offset_load, vitrine_offset_store
        .type   memcpy, @function
        .type   memmove, @function
        .type   memset, @function
        .type   vitrine_system_call, @function

/* int64_t vitrine_system_call(uint64_t number, uint64_t, uint64_t, uint64_t): ring 3 only. */
vitrine_system_call:
        movq    %rdi, %rax
        movq    %rsi, %rdi
        movq    %rdx, %rsi
        movq    %rcx, %rdx
        syscall                         /* RCX and R11 are lost, as the ABI allows */
        ret

/* int64_t vitrine_offset_load(uint64_t address, uint64_t *), vitrine_offset_store(uint64_t address, uint64_t): SIZE stands in
 * the process's last page, where the kernel puts it.
 */
        .set    size_word, 0x200000000 - 4096 + 48
vitrine_offset_load:
        movabsq $size_word, %rax
        cmpq    %gs:(%rax), %rdi
        jae     2f
        movq    %gs:(%rdi), %rax
        movq    %rax, (%rsi)
        xorl    %eax, %eax
        ret
vitrine_offset_store:
        movabsq $size_word, %rax
        cmpq    %gs:(%rax), %rdi
        jae     2f
        movq    %rsi, %gs:(%rdi)
        xorl    %eax, %eax
        ret
2:      movq    $-1, %rax
        ret

memmove:
        movq    %rdi, %rax
        subq    %rsi, %rax
        cmpq    %rdx, %rax              /* the destination begins inside the source: backwards */
        jb      1f
memcpy: movq    %rdi, %rax
        movq    %rdx, %rcx
        rep movsb
        ret
1:      movq    %rdi, %rax
        movq    %rdx, %rcx
        leaq    -1(%rdi,%rdx), %rdi
        leaq    -1(%rsi,%rdx), %rsi
        std
        rep movsb
        cld
        ret

memset: movq    %rdi, %r8
        movl    %esi, %eax
        movq    %rdx, %rcx
        rep stosb
        movq    %r8, %rax
        ret
