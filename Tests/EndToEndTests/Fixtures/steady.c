/* Counts for a while with everything that a processor holds between two instructions: general registers, all of SSE, x87 and its
 * control words. Ends with 0 if nothing of it was ever lost. The argument is the number of rounds of 2^28 additions.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* One round: xmm0 counts by xmm1, xmm2...xmm15 and the x87 stack only stay. */
static uint64_t additions(uint64_t count, const uint64_t *patterns, uint64_t *seen, double *stack) {
    uint64_t left = count;
    __asm__ volatile(
        "movdqu 0(%[p]), %%xmm0\n movdqu 16(%[p]), %%xmm1\n movdqu 32(%[p]), %%xmm2\n movdqu 48(%[p]), %%xmm3\n"
        "movdqu 64(%[p]), %%xmm4\n movdqu 80(%[p]), %%xmm5\n movdqu 96(%[p]), %%xmm6\n movdqu 112(%[p]), %%xmm7\n"
        "movdqu 128(%[p]), %%xmm8\n movdqu 144(%[p]), %%xmm9\n movdqu 160(%[p]), %%xmm10\n movdqu 176(%[p]), %%xmm11\n"
        "movdqu 192(%[p]), %%xmm12\n movdqu 208(%[p]), %%xmm13\n movdqu 224(%[p]), %%xmm14\n movdqu 240(%[p]), %%xmm15\n"
        "fldpi\n fldl2e\n fld1\n"
        "1: paddq %%xmm1, %%xmm0\n dec %[left]\n jnz 1b\n"
        "fstpl 0(%[k])\n fstpl 8(%[k])\n fstpl 16(%[k])\n"
        "movdqu %%xmm0, 0(%[s])\n movdqu %%xmm1, 16(%[s])\n movdqu %%xmm2, 32(%[s])\n movdqu %%xmm3, 48(%[s])\n"
        "movdqu %%xmm4, 64(%[s])\n movdqu %%xmm5, 80(%[s])\n movdqu %%xmm6, 96(%[s])\n movdqu %%xmm7, 112(%[s])\n"
        "movdqu %%xmm8, 128(%[s])\n movdqu %%xmm9, 144(%[s])\n movdqu %%xmm10, 160(%[s])\n movdqu %%xmm11, 176(%[s])\n"
        "movdqu %%xmm12, 192(%[s])\n movdqu %%xmm13, 208(%[s])\n movdqu %%xmm14, 224(%[s])\n movdqu %%xmm15, 240(%[s])\n"
        : [left] "+r"(left)
        : [p] "r"(patterns), [s] "r"(seen), [k] "r"(stack)
        : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
          "xmm12", "xmm13", "xmm14", "xmm15", "st", "st(1)", "st(2)");
    return left;
}

int main(int count, char **arguments) {
    uint64_t patterns[32], seen[32];
    double stack[3];
    /* Rounding toward zero in both units: not what any reset leaves. */
    uint32_t vector = 0x7f80, found = 0;
    uint16_t control = 0x0f7f, foundControl = 0;
    for (int i = 0; i < 32; i++) patterns[i] = 0x0123456789abcdefu * (uint64_t)(i + 3);
    patterns[2] = 1;
    patterns[3] = 5;
    int rounds = count > 1 ? atoi(arguments[1]) : 4;
    __asm__ volatile("ldmxcsr %0\n fldcw %1" : : "m"(vector), "m"(control));
    printf("steady: begins\n");
    fflush(stdout);
    for (int round = 0; round < rounds; round++) {
        const uint64_t n = 1u << 28;
        if (additions(n, patterns, seen, stack) != 0) return 2;
        if (seen[0] != patterns[0] + n || seen[1] != patterns[1] + 5 * n) return 3;
        for (int i = 2; i < 32; i++)
            if (seen[i] != patterns[i]) return 4;
        if (stack[0] != 1.0 || stack[1] < 1.4426 || stack[1] > 1.4427 || stack[2] < 3.1415 || stack[2] > 3.1416) return 5;
        __asm__ volatile("stmxcsr %0\n fnstcw %1" : "=m"(found), "=m"(foundControl));
        if ((found & 0x7f80) != vector || (foundControl & 0x0f7f) != control) return 6;
        printf("steady: round %d\n", round);
        fflush(stdout);
    }
    return 0;
}
