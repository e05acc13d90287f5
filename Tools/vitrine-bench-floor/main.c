// The floor the benchmarks compare with: the least C program that starts one of our images on /dev/kvm.
//
//   vitrine-bench-floor IMAGE MEBIBYTES
//   vitrine-bench-floor sum|walk|translate ...   see walk.c
//
// It makes the system calls any monitor with the same machine has to make (VM, in-kernel irqchip, two memory slots
// over memfd, one vCPU with the host's CPUID) and serves two ports: what the guest writes to COM1 goes to stdout, a write
// to 0x501 ends it. Everything else a guest may do is an error. It is C because it is the reference, not because it must be.
#define _GNU_SOURCE
#include "walk.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail(const char *what) {
    fprintf(stderr, "vitrine-bench-floor: %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

static long check(long result, const char *what) {
    if (result < 0) fail(what);
    return result;
}

/// The direct-entry note: two words, entry address and boot PML4. See docs/guest-contract.md.
static const uint64_t *direct_entry(const uint8_t *file, const Elf64_Phdr *header) {
    const uint8_t *at = file + header->p_offset, *end = at + header->p_filesz;
    while (at + sizeof(Elf64_Nhdr) <= end) {
        const Elf64_Nhdr *note = (const Elf64_Nhdr *)at;
        const uint8_t *name = at + sizeof *note, *description = name + ((note->n_namesz + 3) & ~3u);
        if (note->n_type == 1 && note->n_namesz == 8 && !memcmp(name, "Vitrine", 8)) return (const uint64_t *)description;
        at = description + ((note->n_descsz + 3) & ~3u);
    }
    return NULL;
}

static uint8_t *add_slot(int vm, unsigned number, uint64_t address, uint64_t size) {
    int memory = (int)check(memfd_create("ram", MFD_CLOEXEC), "memfd_create");
    check(ftruncate(memory, (off_t)size), "ftruncate");
    void *host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memory, 0);
    if (host == MAP_FAILED) fail("mmap");
    struct kvm_userspace_memory_region region = {
        .slot = number, .guest_phys_addr = address, .memory_size = size, .userspace_addr = (uintptr_t)host};
    check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
    return host;
}

int main(int count, char **words) {
    if (count > 3) return walk_main(count, words);
    if (count != 3) {
        fprintf(stderr, "usage: vitrine-bench-floor IMAGE MEBIBYTES\n");
        return 2;
    }
    uint64_t size = strtoull(words[2], NULL, 10) << 20, split = 32 << 20;
    if (size <= split) fail("too little memory");

    int image = (int)check(open(words[1], O_RDONLY | O_CLOEXEC), words[1]);
    struct stat status;
    check(fstat(image, &status), "fstat");
    const uint8_t *file = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, image, 0);
    if (file == MAP_FAILED) fail("mmap");

    int system = (int)check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
    int vm = (int)check(ioctl(system, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    check(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000ul), "KVM_SET_TSS_ADDR");
    uint64_t identity = 0xfffbc000;
    check(ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity), "KVM_SET_IDENTITY_MAP_ADDR");
    uint8_t *low = add_slot(vm, 0, 0, split);
    add_slot(vm, 1, split, size - split);
    // After the slots: the other way round each slot waits for a grace period.
    check(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");

    const Elf64_Ehdr *elf = (const Elf64_Ehdr *)file;
    const uint64_t *entry = NULL;
    for (int index = 0; index < elf->e_phnum; index++) {
        const Elf64_Phdr *header = (const Elf64_Phdr *)(file + elf->e_phoff) + index;
        if (header->p_type == PT_LOAD) {
            if (header->p_paddr + header->p_memsz > split) fail("a segment past the first slot");
            memcpy(low + header->p_paddr, file + header->p_offset, header->p_filesz);
        }
        if (header->p_type == PT_NOTE && !entry) entry = direct_entry(file, header);
    }
    if (!entry) fail("no direct-entry note");

    int vcpu = (int)check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    long map_size = check(ioctl(system, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    struct kvm_run *run = mmap(NULL, (size_t)map_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED) fail("mmap");
    static struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[256];
    } cpuid = {.head = {.nent = 256}};
    check(ioctl(system, KVM_GET_SUPPORTED_CPUID, &cpuid), "KVM_GET_SUPPORTED_CPUID");
    check(ioctl(vcpu, KVM_SET_CPUID2, &cpuid), "KVM_SET_CPUID2");

    struct kvm_sregs special;
    check(ioctl(vcpu, KVM_GET_SREGS, &special), "KVM_GET_SREGS");
    struct kvm_segment code = {
        .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
    struct kvm_segment data = {
        .limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
    special.cs = code;
    special.ds = special.es = special.ss = data;
    special.cr0 = 0x80010033;
    special.cr3 = entry[1];
    special.cr4 = 0x20;
    special.efer = 0xd00;
    special.idt.limit = 0;
    check(ioctl(vcpu, KVM_SET_SREGS, &special), "KVM_SET_SREGS");
    struct kvm_regs general = {.rip = entry[0], .rflags = 2, .rsp = 0x7ff0, .rsi = 0x56495452, .rdi = 0x9000};
    check(ioctl(vcpu, KVM_SET_REGS, &general), "KVM_SET_REGS");

    for (;;) {
        check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
        if (run->exit_reason != KVM_EXIT_IO) {
            fprintf(stderr, "exit reason %u\n", run->exit_reason);
            return 1;
        }
        if (run->io.port == 0x3f8 && write(1, (uint8_t *)run + run->io.data_offset, run->io.size) < 0) fail("write");
        if (run->io.port == 0x501) return 0;
    }
}
