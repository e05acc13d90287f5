// Threads and signals: gettid and tgkill, signal masks, thread names.
#ifndef CSYSTEM_THREADS_H
#define CSYSTEM_THREADS_H
#include <stdint.h>

/// gettid(2).
int32_t csystem_thread_id(void);
/// tgkill(2) of a thread of this process, with the kick signal (SIGRTMIN + 1); its handler is installed by
/// csystem_install_kick and does nothing: its arrival is what counts.
long csystem_kick(int32_t thread);
/// Installs the kick signal's handler; no system call is restarted after it.
long csystem_install_kick(void);
/// Blocks every signal in the calling thread but the kick signal.
long csystem_block_signals_but_kick(void);
/// pthread_setname_np(3) of the calling thread; at most 15 bytes.
void csystem_name_thread(const char *name);
#endif
