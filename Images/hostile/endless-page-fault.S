/* A page fault whose handler mends nothing. */
#define NAME "endless-page-fault"
#define VECTOR 14
#define FAULT movq 0x70000000, %rax
#include "endless-fault.inc"
