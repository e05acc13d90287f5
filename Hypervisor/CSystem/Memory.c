#define _GNU_SOURCE
#include "CSystemMemory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static long checked(long result) { return result < 0 ? -(long)errno : result; }

long csystem_memfd(const char *name, unsigned huge_shift) {
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    if (huge_shift) flags |= MFD_HUGETLB | huge_shift << MFD_HUGE_SHIFT;
    return checked(memfd_create(name, flags));
}

long csystem_truncate(int fd, int64_t size) { return checked(ftruncate(fd, size)); }

long csystem_seal_size(int fd) { return checked(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)); }

long csystem_cannot_shrink(int fd) {
    long seals = checked(fcntl(fd, F_GET_SEALS));
    return seals < 0 ? seals : (seals & F_SEAL_SHRINK) != 0;
}

long csystem_map_shared(int fd, int writable, int reserve, size_t size, int64_t offset) {
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *address = mmap(NULL, size, protection, MAP_SHARED | (reserve ? 0 : MAP_NORESERVE), fd, offset);
    return address == MAP_FAILED ? -(long)errno : (long)address;
}

long csystem_map_aligned(int fd, int reserve, size_t size, size_t alignment) {
    uintptr_t space = (uintptr_t)mmap(NULL, size + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if ((void *)space == MAP_FAILED) return -(long)errno;
    uintptr_t start = (space + alignment - 1) & ~(alignment - 1);
    int flags = MAP_SHARED | MAP_FIXED | (reserve ? 0 : MAP_NORESERVE);
    long failure = mmap((void *)start, size, PROT_READ | PROT_WRITE, flags, fd, 0) == MAP_FAILED ? -(long)errno : 0;
    if (failure) {
        munmap((void *)space, size + alignment);
        return failure;
    }
    if (start > space) munmap((void *)space, start - space);
    if (space + alignment > start) munmap((void *)(start + size), space + alignment - start);
    return (long)start;
}

long csystem_unmap(void *address, size_t size) { return checked(munmap(address, size)); }

long csystem_exclude_from_dump(void *address, size_t size) { return checked(madvise(address, size, MADV_DONTDUMP)); }

long csystem_punch_hole(int fd, int64_t offset, int64_t size) {
    return checked(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size));
}

long csystem_file_kind(int fd, int64_t *size) {
    struct stat status;
    if (fstat(fd, &status) < 0) return -(long)errno;
    if (size) *size = status.st_size;
    return S_ISREG(status.st_mode) ? 1 : S_ISDIR(status.st_mode) ? 2 : 0;
}

long csystem_block_size(int fd) {
    struct stat status;
    return fstat(fd, &status) < 0 ? -(long)errno : (long)status.st_blksize;
}

long csystem_read_at(int fd, void *buffer, size_t count, int64_t offset) {
    return checked(pread(fd, buffer, count, offset));
}

// Where the linker put the program's code; not every linker says so.
extern const char __executable_start[] __attribute__((weak));
extern const char etext[] __attribute__((weak));

long csystem_drop_code(void) {
    uintptr_t begin = (uintptr_t)__executable_start, end = (uintptr_t)etext & ~(uintptr_t)4095;
    if (begin == 0 || end <= begin || begin & 4095) return 0;
    return checked(madvise((void *)begin, end - begin, MADV_DONTNEED));
}
