// Looking into another process: its page tables as the kernel shows them, and its memory.
#ifndef CSYSTEM_PROCESS_H
#define CSYSTEM_PROCESS_H
#include <stddef.h>
#include <stdint.h>

/// struct page_region of linux/fs.h (6.7): a run of pages with the same categories.
struct csystem_page_region {
    uint64_t start;
    uint64_t end;
    uint64_t categories;
};

/// ioctl PAGEMAP_SCAN (Documentation/admin-guide/mm/pagemap.rst): the runs of pages from `start` up to `end` that are
/// present or swapped out, of so many pages at most (0: any number). Returns how many; `*walked` is how far it came. -ENOTTY
/// before 6.7.
long csystem_pagemap_scan(int fd, uint64_t start, uint64_t end, struct csystem_page_region *regions, size_t count,
                          uint64_t most_pages, uint64_t *walked);
/// pread(2) once.
long csystem_process_pread(int fd, void *buffer, size_t count, uint64_t offset);
/// process_vm_readv(2) of one range.
long csystem_process_read(int pid, void *buffer, size_t count, uint64_t address);
/// Gives up a capability for good: prctl(2), PR_CAPBSET_DROP; variadic in C.
long csystem_drop_capability(unsigned capability);

/// fork(2), which Swift does not have. Only for a process without other threads.
long csystem_fork(void);

#endif
