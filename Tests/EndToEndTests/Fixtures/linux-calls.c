/* A program for Linux, linked with the C library. What it prints says how system calls answered; the same program on the host's
 * own kernel is the oracle: it has to print the same there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static __thread int local = 17;

static void say(const char *what, long result) { printf("%s: %ld\n", what, result); }

/* The result, or the error's negative number. */
static long answer(long result) { return result == -1 ? -errno : result; }

static void mappings(void) {
    const long page = 4096;
    char *a = mmap(NULL, 8 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    say("mmap", a != MAP_FAILED);
    memset(a, 1, 8 * page);
    say("munmap in the middle", answer(munmap(a + 2 * page, 2 * page)));
    say("munmap over a hole", answer(munmap(a + page, 4 * page)));
    say("munmap of nothing", answer(munmap(a + page, page)));
    say("munmap, no page", answer(munmap(a + 1, page)));
    say("munmap, no bytes", answer(munmap(a, 0)));
    say("what is left", a[0] + a[6 * page]);
    char *b = mmap(a, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    say("mmap, fixed, over another", b == a && b[0] == 0);
    say("mmap, fixed, not over another",
        answer((long)mmap(a, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0)));
    say("mmap, no page", answer((long)mmap(a + 1, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)));
    say("mmap, no bytes", answer((long)mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
    say("mmap, neither shared nor private", answer((long)mmap(NULL, page, PROT_READ, MAP_ANONYMOUS, -1, 0)));
    say("mmap, too large", answer((long)mmap(NULL, 1L << 47, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
    char *hint = mmap(a + page, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    say("mmap, a hint", hint == a + page);
    char *c = mmap(NULL, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *d = mmap(NULL, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    say("mmap goes down", d < c);
    say("mprotect", answer(mprotect(a, page, PROT_READ)));
    say("mprotect of nothing", answer(mprotect(a + 2 * page, page, PROT_READ)));
    say("mprotect, no page", answer(mprotect(a + 1, page, PROT_READ)));
    say("mprotect, no such protection", answer(mprotect(a, page, 64)));
    say("mprotect, no bytes", answer(mprotect(a, 0, PROT_READ)));
}

static void heap(void) {
    char *old = sbrk(0);
    say("brk up", answer(brk(old + 100000)));
    memset(old, 3, 100000);
    say("brk, what is there", old[99999]);
    say("brk below the heap", syscall(SYS_brk, 4096) == (long)sbrk(0));
    say("brk in the kernel's half", syscall(SYS_brk, 0xffff800000000000) == (long)sbrk(0));
    say("brk down", answer(brk(old)));
    say("brk up again", answer(brk(old + 100000)));
    say("brk, zeros again", old[90000]);
    brk(old);
    char *large = malloc(3 << 20), *small = malloc(100);
    memset(large, 5, 3 << 20);
    say("malloc", large[(3 << 20) - 1] + (small != NULL));
    free(large);
    free(small);
}

static void files(void) {
    struct iovec pieces[3] = {{"one ", 4}, {"two ", 4}, {"three\n", 6}};
    fflush(stdout);
    say("writev", answer(writev(1, pieces, 3)));
    say("write to no file", answer(write(9, "x", 1)));
    say("write of nothing", answer(write(1, "", 0)));
    say("read from no file", answer(read(9, pieces, 1)));
    say("close of no file", answer(close(9)));
    say("access of no file", answer(access("/no/such/file", 0)));
    char name[200];
    say("readlink of no link", answer(readlink("/no/such/link", name, sizeof name)));
    say("readlink", readlink("/proc/self/exe", name, sizeof name) > 1 && name[0] == '/');
}

static void processes(void) {
    struct utsname names;
    say("uname", answer(uname(&names)));
    printf("%s %s\n", names.sysname, names.machine);
    int status = -1;
    pid_t own = getpid();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        local += 1;
        say("in the child", local + (getppid() == own) + (getpid() != own));
        fflush(stdout);
        _exit(200 + local);
    }
    pid_t ended = waitpid(child, &status, 0);
    say("fork", child > 0 && child != own);
    say("wait", ended == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    say("in the parent", local);
    say("wait for nobody", answer(wait(NULL)));
    say("kill nothing", answer(syscall(SYS_kill, own, 0)));
    unsigned long random[2] = {0, 0};
    say("getrandom", answer(syscall(SYS_getrandom, random, 16, 0)) + (random[0] != random[1]));
    say("arch_prctl", answer(syscall(SYS_arch_prctl, 0x9999, 0)));
}

static long depth(int n) {
    volatile char block[1000];
    memset((char *)block, n, sizeof block);
    return n == 0 ? 0 : block[n % 1000] * 0 + 1 + depth(n - 1);
}

int main(int count, char **arguments, char **environment) {
    say("arguments", count);
    for (int i = 1; i < count; i++) printf("%s\n", arguments[i]);
    say("argument after the last", arguments[count] == NULL);
    say("environment behind it", environment == arguments + count + 1);
    const char *home = getenv("HOME");
    say("HOME", home != NULL && home[0] == '/');
    say("page size", (long)getauxval(AT_PAGESZ));
    say("random bytes", getauxval(AT_RANDOM) != 0);
    say("clock ticks", sysconf(_SC_CLK_TCK));
    say("thread-local", local);
    mappings();
    heap();
    files();
    processes();
    say("1 MiB of stack", depth(1000));
    printf("%.3f\n", 1.0 / (count + 5));
    return 42;
}
