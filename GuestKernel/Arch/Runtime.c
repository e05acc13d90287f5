/* What the compiler and the Swift runtime expect to find: memory functions, allocation, the stack protector. */
#include "kernel.h"

void *memcpy(void *to, const void *from, size_t count) {
    void *result = to;
    size_t words = count >> 3;
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
    count &= 7;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    return result;
}

void *memmove(void *to, const void *from, size_t count) {
    if ((uintptr_t)to - (uintptr_t)from >= count) return memcpy(to, from, count);
    uint8_t *t = (uint8_t *)to + count;
    const uint8_t *f = (const uint8_t *)from + count;
    while (count--) *--t = *--f;
    return to;
}

void *memset(void *to, int value, size_t count) {
    void *result = to;
    uint64_t word = 0x0101010101010101ull * (uint8_t)value;
    size_t words = count >> 3;
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(word) : "memory");
    count &= 7;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(word) : "memory");
    return result;
}

int memcmp(const void *a, const void *b, size_t count) {
    const uint8_t *x = a, *y = b;
    for (size_t i = 0; i < count; i++)
        if (x[i] != y[i]) return x[i] - y[i];
    return 0;
}

size_t strlen(const char *text) {
    size_t n = 0;
    while (text[n]) n++;
    return n;
}

uint64_t kernel_allocate(uint64_t size, uint64_t alignment);
void kernel_free(uint64_t block);
void kernel_stack_smashed(void) __attribute__((noreturn));

/* Embedded Swift allocates classes and closures so; the kernel itself has none on its paths. */
int posix_memalign(void **result, size_t alignment, size_t size) {
    uint64_t block = kernel_allocate(size, alignment);
    *result = (void *)block;
    return block ? 0 : 12;
}
void free(void *block) { if (block) kernel_free((uint64_t)block); }

uintptr_t __stack_chk_guard = 0x5649545256495452ull;
void __stack_chk_fail(void) { kernel_stack_smashed(); }
