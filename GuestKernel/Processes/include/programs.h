/* What the Swift of GuestKernel/Processes needs of C and assembly. */
#ifndef PROGRAMS_H
#define PROGRAMS_H
#include "../../../Images/include/vitrine.h"
#include "cpu.h"

/* programs.S */
SYMBOL(program_returned)
SYMBOL(user_start)
SYMBOL(user_start_end)
/* services.c */
SYMBOL(program_services)

/* Swift imports the empty literal as no address of its own. */
INLINE const char *empty_text(void) { return ""; }
#endif
