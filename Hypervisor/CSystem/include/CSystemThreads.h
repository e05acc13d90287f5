// Threads and signals: gettid and tgkill, signal masks, thread names.
#ifndef CSYSTEM_THREADS_H
#define CSYSTEM_THREADS_H
#include <stdint.h>

/// gettid(2).
int32_t csystem_thread_id(void);
/// tgkill(2) of a thread of this process, with the kick signal (SIGRTMIN + 1); its handler is installed by
/// csystem_install_kick, in this very process, and does nothing: its arrival is what counts.
long csystem_kick(int32_t thread);
/// Installs the kick signal's handler; no system call is restarted after it.
long csystem_install_kick(void);
/// Blocks every signal in the calling thread but the kick signal.
long csystem_block_signals_but_kick(void);
/// All threads made from now on take memory from one heap (mallopt(3), M_ARENA_MAX).
void csystem_share_heap(void);
/// pthread_setname_np(3) of the calling thread; at most 15 bytes.
void csystem_name_thread(const char *name);
/// perf_event_open(2) for a thread: a record whenever it begins or ceases to run, nothing else. Readable at once.
long csystem_open_switches(int32_t thread);
/// Maps the records of that descriptor into `area`.
long csystem_map_switches(int fd, void **area);
/// Undoes that.
void csystem_unmap_switches(void *area);
/// Takes all records; 0 if there were none. `running`: whether the thread wants to run after the last one.
int csystem_take_switches(void *area, int *running);
#endif
