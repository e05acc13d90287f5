#define _GNU_SOURCE
#include "CSystemSandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static long checked(long result) { return result < 0 ? -(long)errno : result; }

long csystem_no_new_privileges(void) { return checked(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); }

long csystem_drop_capabilities(void) {
    // Needs CAP_SETPCAP, so it comes first; who has not got that has no use for the bounding set (no_new_privs).
    // EINVAL: the kernel has no more of them.
    for (unsigned long capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) >= 0;) capability++;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];
    memset(none, 0, sizeof none);
    return checked(syscall(SYS_capset, &header, none));
}

// struct landlock_ruleset_attr of linux/landlock.h; Debian 12's headers have its first field alone.
struct rules {
    uint64_t files, network, scopes;
};

// struct landlock_path_beneath_attr.
struct beneath {
    uint64_t rights;
    int32_t folder;
} __attribute__((packed));

enum { create_rules = 444, add_rule = 445, restrict_self = 446 };

long csystem_landlock_version(void) {
    // LANDLOCK_CREATE_RULESET_VERSION is 1.
    long version = syscall(create_rules, NULL, 0, 1);
    return version < 0 && (errno == ENOSYS || errno == EOPNOTSUPP) ? 0 : checked(version);
}

long csystem_landlock_rules(long version, uint64_t files, uint64_t network, uint64_t scopes) {
    struct rules attributes = {files, network, scopes};
    // The kernel refuses what it does not know.
    size_t size = version >= 6 ? sizeof attributes : version >= 4 ? 16 : 8;
    return checked(syscall(create_rules, &attributes, size, 0));
}

long csystem_landlock_allow(int rules, int folder, uint64_t rights) {
    struct beneath attributes = {rights, folder};
    // LANDLOCK_RULE_PATH_BENEATH is 1.
    return checked(syscall(add_rule, rules, 1, &attributes, 0));
}

long csystem_landlock_restrict(int rules) { return checked(syscall(restrict_self, rules, 0)); }

long csystem_install_filter(const void *instructions, size_t count) {
    if (count > BPF_MAXINSNS) return -EINVAL;
    struct sock_fprog program = {(unsigned short)count, (struct sock_filter *)instructions};
    return checked(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}
