// libbpf (Debian: libbpf-dev) reads the kernel's BTF, loads the BPF programs and runs them.
//
// The functions below wrap what Swift cannot say: option structures that begin with their own size, and a print
// function with a va_list. Failures are -errno.
#ifndef VITRINE_CBPF_SHIM_H
#define VITRINE_CBPF_SHIM_H
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

/// libbpf writes nothing on standard error.
static inline void vitrine_bpf_quiet(void) { libbpf_set_print(NULL); }

/// Opens an object file in memory and loads its programs; *object is the caller's, NULL on failure.
static inline int vitrine_bpf_load(const void *bytes, size_t count, struct bpf_object **object) {
    LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "vitrine");
    *object = NULL;
    struct bpf_object *opened = bpf_object__open_mem(bytes, count, &options);
    long error = libbpf_get_error(opened);
    if (error) return (int)error;
    error = bpf_object__load(opened);
    if (error) {
        bpf_object__close(opened);
        return (int)error;
    }
    *object = opened;
    return 0;
}

/// Maps an array map that is mmapable.
static inline void *vitrine_bpf_map(int map, size_t size, int *error) {
    void *address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
    *error = address == MAP_FAILED ? errno : 0;
    return address == MAP_FAILED ? NULL : address;
}

/// Runs a program of type syscall once.
static inline int vitrine_bpf_run(int program) {
    LIBBPF_OPTS(bpf_test_run_opts, options);
    return bpf_prog_test_run_opts(program, &options);
}

/// A descriptor to read an iterator over tasks from. Only the tasks of `process` if the kernel can do that (6.1).
static inline int vitrine_bpf_iterate(struct bpf_program *program, unsigned process) {
    union bpf_iter_link_info info = {};
    info.task.pid = process;
    LIBBPF_OPTS(bpf_iter_attach_opts, options, .link_info = &info, .link_info_len = sizeof info);
    struct bpf_link *link = bpf_program__attach_iter(program, &options);
    if (libbpf_get_error(link) == -EINVAL || libbpf_get_error(link) == -E2BIG)
        link = bpf_program__attach_iter(program, NULL);
    long error = libbpf_get_error(link);
    if (error) return (int)error;
    int descriptor = bpf_iter_create(bpf_link__fd(link));
    if (descriptor < 0) descriptor = -errno;
    // The descriptor keeps the iterator; the link has no other use.
    bpf_link__destroy(link);
    return descriptor;
}

#endif
