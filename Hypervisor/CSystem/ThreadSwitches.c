#define _GNU_SOURCE
#include "CSystemThreads.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// One page of control, one of records.
enum { page = 4096 };

long csystem_open_switches(int32_t thread) {
    struct perf_event_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.size = sizeof attributes;
    attributes.type = PERF_TYPE_SOFTWARE;
    attributes.config = PERF_COUNT_SW_DUMMY;
    attributes.context_switch = 1;
    attributes.exclude_kernel = 1;
    attributes.exclude_hv = 1;
    attributes.watermark = 1;
    attributes.wakeup_watermark = 1;
    long result = syscall(SYS_perf_event_open, &attributes, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
    return result < 0 ? -(long)errno : result;
}

long csystem_map_switches(int fd, void **area) {
    void *map = mmap(0, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) return -(long)errno;
    *area = map;
    return 0;
}

void csystem_unmap_switches(void *area) { munmap(area, 2 * page); }

int csystem_take_switches(void *area, int *running) {
    struct perf_event_mmap_page *control = area;
    const unsigned char *records = (const unsigned char *)area + page;
    uint64_t head = __atomic_load_n(&control->data_head, __ATOMIC_ACQUIRE);
    uint64_t tail = control->data_tail;
    if (head == tail) return 0;
    // A ring that is nearly full may have lost the last records: then nobody knows, and it counts as running.
    int isFull = head - tail > page - 64;
    while (tail < head) {
        // Records are multiples of 8 bytes, so a header never lies across the end.
        struct perf_event_header header;
        memcpy(&header, records + tail % page, sizeof header);
        if (header.size < sizeof header) break;
        if (header.type == PERF_RECORD_SWITCH) {
            int out = header.misc & PERF_RECORD_MISC_SWITCH_OUT;
            int preempted = header.misc & PERF_RECORD_MISC_SWITCH_OUT_PREEMPT;
            *running = !out || preempted;
        } else if (header.type == PERF_RECORD_LOST) {
            *running = 1;
        }
        tail += header.size;
    }
    if (isFull) *running = 1;
    __atomic_store_n(&control->data_tail, head, __ATOMIC_RELEASE);
    return 1;
}
