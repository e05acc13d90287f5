// The part of vitrine-bench-floor that walks page tables.
#include <stdint.h>

/// `sum`, `walk` and `leaves`; the exit status.
int walk_main(int count, char **words);
