/* An SSE addition of what no memory holds. */
#define NAME "device-sse"
#define INSTRUCTION paddq (%rbx), %xmm0
#include "instructions.inc"
