// Memory files and maps: memfd and its seals are GNU extensions, and mmap's failure is a pointer.
#ifndef CSYSTEM_MEMORY_H
#define CSYSTEM_MEMORY_H
#include <stddef.h>
#include <stdint.h>

/// memfd_create(2), close-on-exec, sealable; `huge_shift` is 0, or the binary logarithm of a huge page's size.
long csystem_memfd(const char *name, unsigned huge_shift);
/// ftruncate(2).
long csystem_truncate(int fd, int64_t size);
/// fcntl F_ADD_SEALS: shrink, grow, seal.
long csystem_seal_size(int fd);
/// fcntl F_GET_SEALS: 1 if the file can never shrink, 0 if it can.
long csystem_cannot_shrink(int fd);
/// mmap(2) of a shared file; the address or -errno. Without `reserve` nothing is set aside for the pages (MAP_NORESERVE).
long csystem_map_shared(int fd, int writable, int reserve, size_t size, int64_t offset);
/// mmap(2) MAP_SHARED, writable, of a whole file at a multiple of `alignment` (a power of two): three or four calls, which have to
/// happen together.
long csystem_map_aligned(int fd, int reserve, size_t size, size_t alignment);
/// munmap(2).
long csystem_unmap(void *address, size_t size);
/// madvise(2) MADV_DONTDUMP: leave this out of a core dump of the monitor.
long csystem_exclude_from_dump(void *address, size_t size);
/// fallocate(2) FALLOC_FL_PUNCH_HOLE: the range reads as zeros and costs nothing.
long csystem_punch_hole(int fd, int64_t offset, int64_t size);
/// fstat(2): size, and 1 for a regular file, 2 for a folder, 0 for anything else; the size may be NULL.
long csystem_file_kind(int fd, int64_t *size);
/// fstat(2): st_blksize; of a file on hugetlbfs that is the size of its pages.
long csystem_block_size(int fd);
/// pread(2).
long csystem_read_at(int fd, void *buffer, size_t count, int64_t offset);
/// madvise(2) MADV_DONTNEED on the program's own code, whose bounds only the linker knows. The pages are clean and of a
/// file: what is needed again is mapped again.
long csystem_drop_code(void);

#endif
