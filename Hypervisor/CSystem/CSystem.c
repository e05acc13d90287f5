#define _GNU_SOURCE
#include "CSystem.h"

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
