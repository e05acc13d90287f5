/* What the Swift side of a program imports: the interface, and the system call of runtime.S. */
#include "vitrine.h"

int64_t vitrine_system_call(uint64_t number, uint64_t first, uint64_t second, uint64_t third);
