#define _GNU_SOURCE
#include "CSystem.h"

#include <errno.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <unistd.h>

long csystem_close_on_exec_from(unsigned first) {
    return close_range(first, ~0u, CLOSE_RANGE_CLOEXEC) < 0 ? -(long)errno : 0;
}

long csystem_drop_capability(unsigned capability) {
    return prctl(PR_CAPBSET_DROP, (unsigned long)capability, 0, 0, 0) < 0 ? -errno : 0;
}

long csystem_fork(void) {
    long pid = fork();
    return pid < 0 ? -(long)errno : pid;
}
