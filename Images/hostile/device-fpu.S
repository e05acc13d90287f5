/* A store of the x87 state where no memory is. */
#define NAME "device-fpu"
#define INSTRUCTION fnsave (%rbx)
#include "instructions.inc"
