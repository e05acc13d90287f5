// What Swift cannot say by itself: variadic calls, macros and kernel structures.
//
// Every function here returns what the system call returned, or -errno. errno is read right after the call, so nothing
// Swift does in between can overwrite it.
#ifndef CSYSTEM_H
#define CSYSTEM_H

// Nothing here may define _GNU_SOURCE or include a header whose structures change with it: Swift's own Glibc module is
// compiled without it, and the two would disagree. Sources (.c) may.
#include "CSystemProcess.h"

#include <elf.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#include "CSockets.h"

/// open(2): variadic in C, so out of Swift's reach.
long csystem_open(const char *path, int flags, unsigned mode);
/// ioctl(2) with an integer argument.
long csystem_ioctl(int fd, unsigned long request, unsigned long argument);
/// ioctl(2) with a pointer argument.
long csystem_ioctl_pointer(int fd, unsigned long request, void *argument);
/// fcntl(2) with an integer argument.
long csystem_fcntl(int fd, int command, long argument);
/// close_range(2) with CLOSE_RANGE_CLOEXEC, from a descriptor on; a GNU extension.
long csystem_close_on_exec_from(unsigned first);
/// EAX and EBX of this processor's CPUID leaf, in the low and high half; 0 if it has no such leaf.
uint64_t csystem_processor_leaf(uint32_t leaf);
/// CRC-32C of bytes (RFC 3720, appendix B.4); by the processor's own instruction where it has it and that is wanted.
uint32_t csystem_crc32c(const void *bytes, size_t count, int use_instruction);
/// The POSIX strerror_r(3); glibc's own name gives another function.
int strerror_r_xsi(int code, char *buffer, size_t count);

#include "CSystemKVM.h"
#include "CSystemMemory.h"
#include "CSystemSandbox.h"
#include "CSystemThreads.h"

#endif
