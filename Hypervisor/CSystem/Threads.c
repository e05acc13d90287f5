#define _GNU_SOURCE
#include "CSystemThreads.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

static void nothing(int number) { (void)number; }

// Asked once: a kick is one system call, not two.
static int process;

int32_t csystem_thread_id(void) { return (int32_t)syscall(SYS_gettid); }

long csystem_kick(int32_t thread) {
    return syscall(SYS_tgkill, process, thread, SIGRTMIN + 1) < 0 ? -(long)errno : 0;
}

long csystem_install_kick(void) {
    process = getpid();
    struct sigaction action = {.sa_handler = nothing};
    return sigaction(SIGRTMIN + 1, &action, 0) < 0 ? -(long)errno : 0;
}

long csystem_block_signals_but_kick(void) {
    sigset_t set;
    sigfillset(&set);
    sigdelset(&set, SIGRTMIN + 1);
    // A blocked one would end the process without a word (CSystemSandbox.h).
    sigdelset(&set, SIGSYS);
    return -(long)pthread_sigmask(SIG_SETMASK, &set, 0);
}

void csystem_share_heap(void) { mallopt(M_ARENA_MAX, 1); }

void csystem_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }
