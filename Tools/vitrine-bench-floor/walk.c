// The references for page-table walks, in plain C over the same mapped memory.
//
//   vitrine-bench-floor sum FILE SIZE FIRST PAGES       adds up every entry of PAGES tables from FIRST on
//   vitrine-bench-floor walk FILE SIZE ROOT             walks 4-level tables, merges leaves into runs
//   vitrine-bench-floor translate FILE SIZE ROOT PAGES COUNT      random addresses among so many pages
//
// Each prints nanoseconds of processor time and a checksum, the best of five rounds. Physical addresses are offsets in FILE.
#define _GNU_SOURCE
#include "walk.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const uint8_t *memory;
static uint64_t size;

struct run {
    uint64_t va, pa, bytes, page, flags;
};

static struct run open_run;
static uint64_t runs, leaves, checksum;

static void end_run(void) {
    if (!open_run.bytes) return;
    runs++;
    checksum += open_run.va ^ open_run.pa ^ open_run.bytes ^ open_run.flags;
    open_run.bytes = 0;
}

static void leaf(uint64_t va, uint64_t pa, uint64_t page, uint64_t flags) {
    leaves++;
    if (open_run.bytes && open_run.va + open_run.bytes == va && open_run.pa + open_run.bytes == pa &&
        open_run.page == page && open_run.flags == flags) {
        open_run.bytes += page;
        return;
    }
    end_run();
    open_run = (struct run){.va = va, .pa = pa, .bytes = page, .page = page, .flags = flags};
}

/// Flags: W and U by AND, XD by OR, the leaf's other bits as they are.
static void walk_table(uint64_t table, int level, uint64_t base, uint64_t all, uint64_t any) {
    if (table > size - 4096) return;
    const uint64_t *entries = (const uint64_t *)(memory + table);
    uint64_t cover = 1ull << (12 + 9 * (level - 1));
    for (int index = 0; index < 512; index++) {
        uint64_t entry = entries[index];
        if (!(entry & 1)) continue;
        uint64_t va = base + (uint64_t)index * cover, address = entry & 0x000ffffffffff000ull;
        if (level == 4 && index >= 256) va |= 0xffff000000000000ull;
        uint64_t grants = all & entry, denies = any | entry;
        if (level > 1 && !(level <= 3 && entry & 0x80)) {
            walk_table(address, level - 1, va, grants, denies);
            continue;
        }
        if (level > 1) address &= ~(cover - 1);
        leaf(va, address, cover, (grants & 6) | (denies & 1ull << 63) | (entry & 0x7ff0000000000178ull));
    }
}

static uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t sum(uint64_t first, uint64_t pages) {
    const uint64_t *entries = (const uint64_t *)(memory + first);
    uint64_t total = 0;
    for (uint64_t index = 0; index < pages * 512; index++) total += entries[index];
    return total;
}

static uint64_t translate(uint64_t root, uint64_t va) {
    for (int level = 4;; level--) {
        uint64_t entry = *(const uint64_t *)(memory + root + (va >> (12 + 9 * (level - 1)) & 511) * 8);
        if (!(entry & 1)) return ~0ull;
        root = entry & 0x000ffffffffff000ull;
        if (level == 1) return root | (va & 4095);
        if (root > size - 4096) return ~0ull;
    }
}

/// The numbers that the Swift side draws.
static uint64_t translations(uint64_t root, uint64_t pages, uint64_t wanted) {
    uint64_t state = 0x9e3779b97f4a7c15ull, total = 0;
    while (wanted--) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        total += translate(root, state % (pages * 4096));
    }
    return total;
}

int walk_main(int count, char **words) {
    if (count < 5) return 2;
    int file = open(words[2], O_RDONLY | O_CLOEXEC);
    size = strtoull(words[3], NULL, 0);
    if (file < 0) return 1;
    memory = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
    if (memory == MAP_FAILED) return 1;
    uint64_t root = strtoull(words[4], NULL, 0), best = ~0ull, result = 0;
    int is_sum = !strcmp(words[1], "sum");
    int is_translate = !strcmp(words[1], "translate");
    if (count < 5 + is_sum + 2 * is_translate) return 2;
    for (int round = 0; round < 5; round++) {
        runs = leaves = checksum = 0;
        uint64_t start = nanoseconds();
        if (is_sum) {
            result = sum(root, strtoull(words[5], NULL, 0));
        } else if (is_translate) {
            result = translations(root, strtoull(words[5], NULL, 0), strtoull(words[6], NULL, 0));
        } else {
            walk_table(root, 4, 0, ~0ull, 0);
            end_run();
            result = checksum;
        }
        uint64_t time = nanoseconds() - start;
        if (time < best) best = time;
    }
    printf("%llu %llu %llu %llu\n", (unsigned long long)best, (unsigned long long)result, (unsigned long long)leaves,
           (unsigned long long)runs);
    return 0;
}
