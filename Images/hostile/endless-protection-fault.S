/* A general protection fault whose handler mends nothing. */
#define NAME "endless-protection-fault"
#define VECTOR 13
#define FAULT movq (%rbx), %rax
#include "endless-fault.inc"
