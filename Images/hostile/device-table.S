/* A load of the GDT register from where no memory is. */
#define NAME "device-table"
#define INSTRUCTION lgdt (%rbx)
#include "instructions.inc"
