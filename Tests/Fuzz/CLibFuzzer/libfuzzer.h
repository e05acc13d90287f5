// libFuzzer as a library (compiler-rt, lib/fuzzer/FuzzerInterface.h; LLVM's documentation, "Using libFuzzer as a library").
#pragma once
#include <stddef.h>
#include <stdint.h>

/// Runs libFuzzer with these arguments; `test` gets every input and returns 0.
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*test)(const uint8_t *data, size_t size));
