#define _GNU_SOURCE
#include "CSystem.h"

#include <errno.h>
#include <linux/close_range.h>
#include <unistd.h>

long csystem_close_on_exec_from(unsigned first) {
    return close_range(first, ~0u, CLOSE_RANGE_CLOEXEC) < 0 ? -(long)errno : 0;
}
