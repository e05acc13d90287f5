/* A locked exchange of 16 bytes where no memory is. */
#define NAME "device-exchange"
#define INSTRUCTION lock cmpxchg16b (%rbx)
#include "instructions.inc"
