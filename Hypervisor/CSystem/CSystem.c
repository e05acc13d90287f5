#define _GNU_SOURCE
#include "CSystem.h"

#include <cpuid.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

static long checked(long result) { return result < 0 ? -(long)errno : result; }

long csystem_open(const char *path, int flags, unsigned mode) { return checked(open(path, flags, mode)); }

long csystem_ioctl(int fd, unsigned long request, unsigned long argument) {
    return checked(ioctl(fd, request, argument));
}

long csystem_ioctl_pointer(int fd, unsigned long request, void *argument) {
    return checked(ioctl(fd, request, argument));
}

long csystem_fcntl(int fd, int command, long argument) { return checked(fcntl(fd, command, argument)); }

uint64_t csystem_processor_leaf(uint32_t leaf) {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (!__get_cpuid_count(leaf, 0, &eax, &ebx, &ecx, &edx)) return 0;
    return (uint64_t)ebx << 32 | eax;
}
