// What the ARM guest has in assembly: instructions that Swift has no words for (start.S).
#pragma once
#include <stdint.h>

/// One of ATS1CPR, ATS1CPW, ATS1CUR, ATS1CUW (`which` 0...3) for an address, then PAR (ARM ARM, B3.13.1, B4.1.112).
uint32_t arm_translate(uint32_t va, uint32_t which);
/// Runs the `svc` at an address, as PL0 if `user` is not 0. 1 if it ran, 0 if the fetch aborted.
uint32_t arm_fetch(uint32_t va, uint32_t user);
/// Puts tables in force; the code and the stack must be mapped at the same addresses in all of them.
void arm_set_tables(uint32_t ttbcr, uint32_t ttbr0, uint32_t ttbr1, uint32_t dacr);
/// SCTLR.AFE on.
void arm_enable_access_flag(void);
/// SCTLR, TTBCR, TTBR0, TTBR1, DACR, ID_MMFR0, MIDR (`which` 0...6).
uint32_t arm_register(uint32_t which);
/// Waits for ever.
void arm_wait(void);
/// The eight words of the exception vectors and the eight addresses after them.
extern const uint32_t arm_vectors[16];

/// A word at an address: memory that devices or the processor's walks share with the program.
static inline uint32_t arm_load(uint32_t address) { return *(volatile uint32_t *)(uintptr_t)address; }
/// Writes such a word.
static inline void arm_store(uint32_t address, uint32_t value) { *(volatile uint32_t *)(uintptr_t)address = value; }
