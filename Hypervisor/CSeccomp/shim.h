// libseccomp (Debian: libseccomp-dev) makes filters of system calls out of lists.
//
// The constants below are macros with casts in C, which Swift does not see.
#ifndef VITRINE_CSECCOMP_SHIM_H
#define VITRINE_CSECCOMP_SHIM_H
#include <seccomp.h>

static const uint32_t vitrine_seccomp_allow = SCMP_ACT_ALLOW;
static const uint32_t vitrine_seccomp_trap = SCMP_ACT_TRAP;
static const uint32_t vitrine_seccomp_log = SCMP_ACT_LOG;
static const uint32_t vitrine_seccomp_kill_process = SCMP_ACT_KILL_PROCESS;
#endif
