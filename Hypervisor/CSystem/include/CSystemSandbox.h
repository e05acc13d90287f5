// What a process gives up for good: system calls (seccomp), files (Landlock), capabilities.
#ifndef CSYSTEM_SANDBOX_H
#define CSYSTEM_SANDBOX_H
#include <stddef.h>
#include <stdint.h>

/// prctl(2) PR_SET_NO_NEW_PRIVS, for this thread and those it makes.
long csystem_no_new_privileges(void);
/// Gives up every capability (capset(2)) and, where that is possible, the right to have any again (PR_CAPBSET_DROP,
/// PR_CAP_AMBIENT), for this thread and those it makes.
long csystem_drop_capabilities(void);

/// The version of Landlock's interface (landlock_create_ruleset(2)); 0: this kernel has none, or it is switched off (ENOSYS,
/// EOPNOTSUPP).
long csystem_landlock_version(void);
/// A set of rules that handles these rights (struct landlock_ruleset_attr of linux/landlock.h); of the three those that the
/// version has.
long csystem_landlock_rules(long version, uint64_t files, uint64_t network, uint64_t scopes);
/// Allows rights beneath a folder, which is open.
long csystem_landlock_allow(int rules, int folder, uint64_t rights);
/// landlock_restrict_self(2), for this thread and those it makes.
long csystem_landlock_restrict(int rules);

/// seccomp(2) SECCOMP_SET_MODE_FILTER of this thread: `count` instructions of classic BPF.
long csystem_install_filter(const void *instructions, size_t count);
/// Installs the handler of SIGSYS, which tells on standard error which call it was and then lets the signal end the process.
long csystem_report_violations(void);
/// The name of a system call by its number; NULL if these headers have none.
const char *csystem_call_name(int number);
/// syscall(2) as it is, for tests of filters.
long csystem_call(long number, long a, long b, long c, long d, long e, long f);
/// The calling thread's role, as that report names it; the text must last.
void csystem_name_role(const char *name);
#endif
