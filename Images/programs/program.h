/* What the Swift side of a program imports: the interface, and the system call of runtime.S. */
#include "vitrine.h"

/* Memory of a process whose addresses are offsets from GS: 0, or -1 for an address of SIZE or more, which is not touched. */
int64_t vitrine_offset_load(uint64_t address, uint64_t *value);
int64_t vitrine_offset_store(uint64_t address, uint64_t value);
/* Linux's: five arguments, the result or an error's negative number. */
int64_t linux_system_call(uint64_t number, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
int64_t vitrine_system_call(uint64_t number, uint64_t first, uint64_t second, uint64_t third);
