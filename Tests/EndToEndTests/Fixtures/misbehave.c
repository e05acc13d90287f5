/* A ring-0 program that does what its argument says: faults of every kind, and loops. */
#include "vitrine.h"

/* A leaf function with eight locals below the stack pointer: an interrupt must not touch them. */
static __attribute__((noinline)) uint64_t red_zone(const volatile uint64_t *seed)
{
    uint64_t a = seed[0], b = seed[1], c = seed[2], d = seed[3], sum = 0;
    for (int round = 0; round < 20000; round++) {
        volatile uint64_t below[8] = { a, b, c, d, a ^ b, b ^ c, c ^ d, d ^ a };
        for (int i = 0; i < 8; i++) sum = sum * 31 + below[i];
        a++;
    }
    return sum;
}

static void number(const struct vitrine_services *services, uint64_t value)
{
    char text[20];
    int at = 20;
    text[--at] = '\n';
    for (int digit = 0; digit < 16; digit++, value >>= 4) text[--at] = "0123456789abcdef"[value & 15];
    services->write(text + at, 20 - at);
}

int64_t _start(const struct vitrine_services *services, const char *argument)
{
    static volatile uint64_t seed[4] = { 1, 2, 3, 4 };
    switch (argument[0]) {
    case 'u': __asm__ volatile("ud2"); break;
    case 'd': __asm__ volatile("div %%ecx" : : "a"(1), "d"(0), "c"(0)); break;
    case 'g': __asm__ volatile("mov %0, %%ds" : : "r"(0x33)); break;
    case 'n': *(volatile char *)0 = 1; break;
    case 'c': *(volatile char *)0x8000000000000000 = 1; break;
    case 's': __asm__ volatile("xor %%esp, %%esp; push $1" : : : "memory"); break;
    case 'k': __asm__ volatile("mov %0, %%rsp; push $1" : : "r"(0x8000000000000000) : "memory"); break;
    case 'j': __asm__ volatile("jmp *%0" : : "r"(0x300000000000)); break;
    case 'l': for (;;) __asm__ volatile("");
    case 'w': { /* reads one page for ever, and says where it is */
        volatile uint64_t *page = services->map(0, 4096, VITRINE_READ | VITRINE_WRITE);
        page[0] = 1;
        number(services, (uint64_t)page);
        while (page[0]) ;
        return 3;
    }
    case 'r': return red_zone(seed) != (seed[0]--, seed[0]++, red_zone(seed));
    case 'm':
        for (int round = 0; round < 8; round++) {
            char *range = services->map(0, 65536, VITRINE_READ | VITRINE_WRITE);
            if (!range) return 1;
            for (int at = 0; at < 65536; at += 4096) {
                if (range[at]) return 2; /* a reused page that was not cleared */
                range[at] = 1;
            }
            if (services->protect(range, 4096, VITRINE_READ) || services->unmap(range, 65536)) return 4;
        }
        return 0;
    }
    return 9;
}
