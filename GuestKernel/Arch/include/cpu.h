/* Instructions that Swift has no name for, and the symbols of the assembly. */
#ifndef CPU_H
#define CPU_H
#include "kernel.h"

#define INLINE static inline __attribute__((always_inline))

INLINE void out8(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory"); }
INLINE void out16(uint16_t port, uint16_t value) { __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory"); }
INLINE void out32(uint16_t port, uint32_t value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory"); }
INLINE uint8_t in8(uint16_t port) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory"); return v; }
INLINE uint32_t in32(uint16_t port) { uint32_t v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory"); return v; }
INLINE void out_bytes(uint16_t port, const void *bytes, uint64_t count) {
    __asm__ volatile("rep outsb" : "+S"(bytes), "+c"(count) : "d"(port) : "memory");
}

INLINE uint64_t read_cr0(void) { uint64_t v; __asm__ volatile("mov %%cr0, %0" : "=r"(v)); return v; }
INLINE uint64_t read_cr2(void) { uint64_t v; __asm__ volatile("mov %%cr2, %0" : "=r"(v)); return v; }
INLINE uint64_t read_cr3(void) { uint64_t v; __asm__ volatile("mov %%cr3, %0" : "=r"(v) : : "memory"); return v; }
INLINE uint64_t read_cr4(void) { uint64_t v; __asm__ volatile("mov %%cr4, %0" : "=r"(v)); return v; }
INLINE void write_cr3(uint64_t v) { __asm__ volatile("mov %0, %%cr3" : : "r"(v) : "memory"); }
INLINE void write_cr4(uint64_t v) { __asm__ volatile("mov %0, %%cr4" : : "r"(v) : "memory"); }
INLINE void invalidate_page(uint64_t va) { __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory"); }
INLINE void write_msr(uint32_t msr, uint64_t v) {
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}
INLINE uint64_t read_msr(uint32_t msr) {
    uint32_t a, d;
    __asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(msr));
    return (uint64_t)d << 32 | a;
}
INLINE uint32_t cpuid_eax(uint32_t leaf) {
    uint32_t a = leaf, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return a;
}
INLINE uint32_t cpuid_edx(uint32_t leaf) {
    uint32_t a = leaf, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return d;
}
INLINE uint64_t read_tsc(void) {
    uint32_t a, d;
    __asm__ volatile("rdtsc" : "=a"(a), "=d"(d));
    return (uint64_t)d << 32 | a;
}
INLINE void interrupts_off(void) { __asm__ volatile("cli" : : : "memory"); }
INLINE void interrupts_on(void) { __asm__ volatile("sti" : : : "memory"); }
INLINE void wait_for_interrupt(void) { __asm__ volatile("sti; hlt" : : : "memory"); }
INLINE void wait_for_ever(void) { __asm__ volatile("hlt" : : : "memory"); }
INLINE void pause_hint(void) { __asm__ volatile("pause" : : : "memory"); }
INLINE uint64_t read_flags(void) { uint64_t v; __asm__ volatile("pushfq; pop %0" : "=r"(v) : : "memory"); return v; }
INLINE struct cpu *this_cpu(void) { struct cpu *c; __asm__ volatile("mov %%gs:0, %0" : "=r"(c)); return c; }
INLINE uint64_t *cpu_gdt(struct cpu *cpu) { return cpu->gdt; }
INLINE uint32_t *cpu_tss(struct cpu *cpu) { return cpu->tss; }
INLINE void load_gdt(const void *base, uint16_t limit) {
    struct __attribute__((packed)) { uint16_t limit; const void *base; } p = { limit, base };
    __asm__ volatile("lgdt %0" : : "m"(p) : "memory");
}
INLINE void load_idt(const void *base, uint16_t limit) {
    struct __attribute__((packed)) { uint16_t limit; const void *base; } p = { limit, base };
    __asm__ volatile("lidt %0" : : "m"(p) : "memory");
}
INLINE void load_task_register(uint16_t selector) { __asm__ volatile("ltr %0" : : "r"(selector) : "memory"); }
INLINE void reload_segments(void) {
    __asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%ss; mov %1, %%fs; mov %1, %%gs" : : "r"(0x10), "r"(0) : "memory");
}
INLINE void save_fpu(void *area) { __asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory"); }
INLINE void restore_fpu(const void *area) { __asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory"); }
INLINE uint32_t fetch_add(uint32_t *word, uint32_t value) { return __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST); }
INLINE uint32_t load_acquire(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
INLINE void store_release(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
/* One table entry, read once, written once: other processors and the walker of the MMU look at the same word. */
INLINE uint64_t read_word(uint64_t va) { return *(volatile uint64_t *)va; }
INLINE void write_word(uint64_t va, uint64_t value) { *(volatile uint64_t *)va = value; }
INLINE uint32_t read_register(uint64_t va) { return *(volatile uint32_t *)va; }
INLINE void write_register(uint64_t va, uint32_t value) { *(volatile uint32_t *)va = value; }
INLINE void copy_words(uint64_t to, uint64_t from, uint64_t count) {
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}
INLINE void clear_words(uint64_t to, uint64_t count) {
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(0ull) : "memory");
}

/* boot.S, kernel.ld: what is linked at its physical address, and the layout's numbers. */
#define WORD(name) \
    extern const uint64_t name##_word; \
    INLINE uint64_t name(void) { return name##_word; }
WORD(boot_pml4)
WORD(boot_pd)
WORD(boot_pt)
WORD(trampoline_start)
WORD(trampoline_end)
WORD(layout_number)
WORD(kernel_offset)
/* boot.S, kernel.ld, traps.S: addresses of symbols, as numbers. */
#define SYMBOL(name) \
    extern const uint8_t name[]; \
    INLINE uint64_t address_of_##name(void) { return (uint64_t)name; }
SYMBOL(kernel_end)
SYMBOL(bootfs_start)
SYMBOL(bootfs_end)
SYMBOL(trap_stubs)
SYMBOL(syscall_entry)
SYMBOL(monitor_thread)
SYMBOL(probe_read_at)
SYMBOL(probe_write_at)
SYMBOL(probe_copy_at)
SYMBOL(probe_failed)
/* traps.S */
void yield_processor(void);
void start_first_thread(struct trap_frame *frame) __attribute__((noreturn));
/* 0 and the value in *value, or the fault: vector << 32 | error code, with bit 63 set. */
uint64_t probe_read(uint64_t va, uint64_t *value);
uint64_t probe_write(uint64_t va, uint64_t value);
uint64_t probe_copy(uint64_t to, uint64_t from, uint64_t count);
/* Handed to ap_entry64. */
extern uint64_t ap_boot_cr3, ap_boot_stack, ap_boot_cpu;
INLINE void set_ap_boot(uint64_t cr3, uint64_t stack, struct cpu *cpu) {
    ap_boot_cr3 = cr3, ap_boot_stack = stack, ap_boot_cpu = (uint64_t)cpu;
}
#endif
