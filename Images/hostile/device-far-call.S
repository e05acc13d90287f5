/* A far call through a pointer that no memory holds. */
#define NAME "device-far-call"
#define INSTRUCTION lcallq *(%rbx)
#include "instructions.inc"
