#define _GNU_SOURCE
#include "CSystemProcess.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

// struct pm_scan_arg of linux/fs.h; Debian 12's headers are older than it.
struct scan_argument {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN _IOWR('f', 16, struct scan_argument)
#define CATEGORY_PRESENT (1 << 3)
#define CATEGORY_SWAPPED (1 << 4)
// PAGE_IS_FILE 1 << 2, PAGE_IS_PFNZERO 1 << 5, PAGE_IS_HUGE 1 << 6, PAGE_IS_SOFT_DIRTY 1 << 7
#define CATEGORIES (1 << 2 | CATEGORY_PRESENT | CATEGORY_SWAPPED | 1 << 5 | 1 << 6 | 1 << 7)

long csystem_pagemap_scan(int fd, uint64_t start, uint64_t end, struct csystem_page_region *regions, size_t count,
                          uint64_t most_pages, uint64_t *walked) {
    struct scan_argument argument = {
        .size = sizeof argument,
        .start = start,
        .end = end,
        .vec = (uint64_t)(uintptr_t)regions,
        .vec_len = count,
        .max_pages = most_pages,
        .category_anyof_mask = CATEGORY_PRESENT | CATEGORY_SWAPPED,
        .return_mask = CATEGORIES,
    };
    int result = ioctl(fd, SCAN, &argument);
    *walked = argument.walk_end;
    return result < 0 ? -errno : result;
}

long csystem_process_pread(int fd, void *buffer, size_t count, uint64_t offset) {
    ssize_t result = pread(fd, buffer, count, (off_t)offset);
    return result < 0 ? -errno : result;
}

long csystem_process_read(int pid, void *buffer, size_t count, uint64_t address) {
    struct iovec local = {buffer, count};
    struct iovec remote = {(void *)(uintptr_t)address, count};
    ssize_t result = process_vm_readv(pid, &local, 1, &remote, 1, 0);
    return result < 0 ? -errno : result;
}
