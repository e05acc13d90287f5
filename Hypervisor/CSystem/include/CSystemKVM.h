// The ioctl numbers of KVM, which are macros with sizeof in them, and access to struct kvm_run, which is a union that the
// kernel rewrites at every exit.
#ifndef CSYSTEM_KVM_H
#define CSYSTEM_KVM_H
#include <linux/kvm.h>
#include <stdint.h>

#define CSYSTEM_REQUEST(name) static const unsigned long csystem_##name = name

// Of /dev/kvm.
CSYSTEM_REQUEST(KVM_GET_API_VERSION);
CSYSTEM_REQUEST(KVM_CREATE_VM);
CSYSTEM_REQUEST(KVM_CHECK_EXTENSION);
CSYSTEM_REQUEST(KVM_GET_VCPU_MMAP_SIZE);
CSYSTEM_REQUEST(KVM_GET_SUPPORTED_CPUID); // KVM_CAP_EXT_CPUID
CSYSTEM_REQUEST(KVM_GET_MSR_INDEX_LIST);

// Of a VM.
CSYSTEM_REQUEST(KVM_CREATE_VCPU);
CSYSTEM_REQUEST(KVM_SET_USER_MEMORY_REGION); // KVM_CAP_USER_MEMORY
CSYSTEM_REQUEST(KVM_GET_DIRTY_LOG);
CSYSTEM_REQUEST(KVM_SET_TSS_ADDR);          // KVM_CAP_SET_TSS_ADDR
CSYSTEM_REQUEST(KVM_SET_IDENTITY_MAP_ADDR); // KVM_CAP_SET_IDENTITY_MAP_ADDR
CSYSTEM_REQUEST(KVM_CREATE_IRQCHIP);        // KVM_CAP_IRQCHIP
CSYSTEM_REQUEST(KVM_IRQ_LINE);              // KVM_CAP_IRQCHIP
CSYSTEM_REQUEST(KVM_GET_IRQCHIP);           // KVM_CAP_IRQCHIP
CSYSTEM_REQUEST(KVM_SET_IRQCHIP);           // KVM_CAP_IRQCHIP
CSYSTEM_REQUEST(KVM_CREATE_PIT2);           // KVM_CAP_PIT2
CSYSTEM_REQUEST(KVM_GET_PIT2);              // KVM_CAP_PIT_STATE2
CSYSTEM_REQUEST(KVM_SET_PIT2);              // KVM_CAP_PIT_STATE2
CSYSTEM_REQUEST(KVM_GET_CLOCK);             // KVM_CAP_ADJUST_CLOCK
CSYSTEM_REQUEST(KVM_SET_CLOCK);             // KVM_CAP_ADJUST_CLOCK

// Of a vCPU.
CSYSTEM_REQUEST(KVM_RUN);
CSYSTEM_REQUEST(KVM_GET_REGS);
CSYSTEM_REQUEST(KVM_SET_REGS);
CSYSTEM_REQUEST(KVM_GET_SREGS);
CSYSTEM_REQUEST(KVM_SET_SREGS);
CSYSTEM_REQUEST(KVM_GET_FPU);
CSYSTEM_REQUEST(KVM_SET_FPU);
CSYSTEM_REQUEST(KVM_GET_MSRS);
CSYSTEM_REQUEST(KVM_SET_MSRS);
CSYSTEM_REQUEST(KVM_TRANSLATE);
CSYSTEM_REQUEST(KVM_SET_CPUID2);     // KVM_CAP_EXT_CPUID
CSYSTEM_REQUEST(KVM_GET_LAPIC);      // KVM_CAP_IRQCHIP
CSYSTEM_REQUEST(KVM_SET_LAPIC);      // KVM_CAP_IRQCHIP
CSYSTEM_REQUEST(KVM_GET_MP_STATE);   // KVM_CAP_MP_STATE
CSYSTEM_REQUEST(KVM_SET_MP_STATE);   // KVM_CAP_MP_STATE
CSYSTEM_REQUEST(KVM_SET_GUEST_DEBUG); // KVM_CAP_SET_GUEST_DEBUG
CSYSTEM_REQUEST(KVM_GET_VCPU_EVENTS); // KVM_CAP_VCPU_EVENTS
CSYSTEM_REQUEST(KVM_SET_VCPU_EVENTS); // KVM_CAP_VCPU_EVENTS
CSYSTEM_REQUEST(KVM_GET_DEBUGREGS);   // KVM_CAP_DEBUGREGS
CSYSTEM_REQUEST(KVM_SET_DEBUGREGS);   // KVM_CAP_DEBUGREGS
CSYSTEM_REQUEST(KVM_GET_XSAVE);       // KVM_CAP_XSAVE
CSYSTEM_REQUEST(KVM_GET_XSAVE2);      // KVM_CAP_XSAVE2
CSYSTEM_REQUEST(KVM_SET_XSAVE);       // KVM_CAP_XSAVE
CSYSTEM_REQUEST(KVM_GET_XCRS);        // KVM_CAP_XCRS
CSYSTEM_REQUEST(KVM_SET_XCRS);        // KVM_CAP_XCRS
CSYSTEM_REQUEST(KVM_GET_TSC_KHZ);     // KVM_CAP_GET_TSC_KHZ
CSYSTEM_REQUEST(KVM_SET_TSC_KHZ);     // KVM_CAP_TSC_CONTROL

// Of a VM or a vCPU.
CSYSTEM_REQUEST(KVM_GET_STATS_FD); // KVM_CAP_BINARY_STATS_FD

/// The instruction bytes of an emulation failure are there.
static const unsigned long csystem_emulation_bytes = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;

/// Asks KVM_RUN to return -EINTR, now or at its next call. From any thread.
static inline void csystem_run_set_immediate_exit(struct kvm_run *run, uint8_t value) {
    __atomic_store_n(&run->immediate_exit, value, __ATOMIC_SEQ_CST);
}

static inline uint32_t csystem_run_exit_reason(const struct kvm_run *run) { return run->exit_reason; }
static inline uint8_t csystem_run_io_direction(const struct kvm_run *run) { return run->io.direction; }
static inline uint8_t csystem_run_io_size(const struct kvm_run *run) { return run->io.size; }
static inline uint16_t csystem_run_io_port(const struct kvm_run *run) { return run->io.port; }
static inline uint32_t csystem_run_io_count(const struct kvm_run *run) { return run->io.count; }
static inline uint64_t csystem_run_io_offset(const struct kvm_run *run) { return run->io.data_offset; }
static inline uint64_t csystem_run_mmio_address(const struct kvm_run *run) { return run->mmio.phys_addr; }
static inline uint32_t csystem_run_mmio_length(const struct kvm_run *run) { return run->mmio.len; }
static inline uint8_t csystem_run_mmio_is_write(const struct kvm_run *run) { return run->mmio.is_write; }
static inline uint8_t *csystem_run_mmio_data(struct kvm_run *run) { return run->mmio.data; }
static inline uint32_t csystem_run_debug_exception(const struct kvm_run *run) { return run->debug.arch.exception; }
static inline uint64_t csystem_run_debug_pc(const struct kvm_run *run) { return run->debug.arch.pc; }
static inline uint64_t csystem_run_debug_dr6(const struct kvm_run *run) { return run->debug.arch.dr6; }
static inline uint64_t csystem_run_debug_dr7(const struct kvm_run *run) { return run->debug.arch.dr7; }
static inline uint64_t csystem_run_fail_reason(const struct kvm_run *run) {
    return run->fail_entry.hardware_entry_failure_reason;
}
static inline uint32_t csystem_run_fail_cpu(const struct kvm_run *run) { return run->fail_entry.cpu; }
static inline uint32_t csystem_run_suberror(const struct kvm_run *run) { return run->internal.suberror; }
static inline uint32_t csystem_run_internal_count(const struct kvm_run *run) { return run->internal.ndata; }
static inline uint64_t csystem_run_internal_data(const struct kvm_run *run, uint32_t index) {
    return index < 16 ? run->internal.data[index] : 0;
}
static inline uint64_t csystem_run_emulation_flags(const struct kvm_run *run) { return run->emulation_failure.flags; }
static inline uint8_t csystem_run_emulation_size(const struct kvm_run *run) { return run->emulation_failure.insn_size; }
static inline uint8_t csystem_run_emulation_byte(const struct kvm_run *run, uint32_t index) {
    return index < 15 ? run->emulation_failure.insn_bytes[index] : 0;
}
static inline uint32_t csystem_run_event_type(const struct kvm_run *run) { return run->system_event.type; }

/// struct kvm_msrs with room for one entry; the kernel's own ends in a flexible array.
struct csystem_one_msr {
    uint32_t count;
    uint32_t padding;
    struct kvm_msr_entry entry;
};
/// struct kvm_msr_list with room for more than any kernel has.
struct csystem_msr_list {
    uint32_t count;
    uint32_t indices[1024];
};
/// struct kvm_cpuid2 with room for every entry that KVM may have (KVM_MAX_CPUID_ENTRIES is 256).
struct csystem_cpuid {
    uint32_t count;
    uint32_t padding;
    struct kvm_cpuid_entry2 entries[256];
};
#endif
