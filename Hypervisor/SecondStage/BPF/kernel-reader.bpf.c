// The two BPF programs that look into the kernel, for the reader in BPFKernelMemory.swift. They write nothing outside
// their own maps, every loop is bounded, and nothing outlives the descriptors of the process that loaded them.
//
//     find_vm_files   iterator over the open files of one process: those of KVM, as records in a byte stream
//     read_pieces     copies up to PIECES pieces of kernel memory of at most 4 KiB each into a map
//     walk_list       follows a list of the kernel, copying the first bytes of each element
//
// Only the structures that the iterator needs are declared here, with the fields that it needs; libbpf finds where
// they are in the running kernel (CO-RE). Everything else is found by offset, in Swift, from the kernel's BTF.
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed int __s32;
typedef signed long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
enum { BPF_MAP_TYPE_ARRAY = 2, BPF_F_MMAPABLE = 1 << 10 };
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define PRESERVE __attribute__((preserve_access_index))

struct super_block {
    unsigned long s_magic;
} PRESERVE;
struct inode {
    struct super_block *i_sb;
} PRESERVE;
struct qstr {
    const unsigned char *name;
} PRESERVE;
struct dentry {
    struct qstr d_name;
} PRESERVE;
struct path {
    struct dentry *dentry;
} PRESERVE;
struct file {
    void *private_data;
    struct inode *f_inode;
    struct path f_path;
} PRESERVE;
struct mm_struct {
    void *pgd;
} PRESERVE;
struct task_struct {
    int tgid;
    struct mm_struct *mm;
} PRESERVE;
struct seq_file;
struct bpf_iter_meta {
    struct seq_file *seq;
} PRESERVE;
struct bpf_iter__task_file {
    struct bpf_iter_meta *meta;
    struct task_struct *task;
    __u32 fd;
    struct file *file;
} PRESERVE;

/// ANON_INODE_FS_MAGIC of linux/magic.h: no file of another file system passes for one of KVM.
#define ANONYMOUS_INODES 0x09041934

/// What find_vm_files writes for each file, 40 bytes. KernelFileRecord in Swift.
struct file_record {
    __u32 process;
    __u32 fd;
    __u64 object;  // struct kvm or struct kvm_vcpu
    __u64 mm;      // struct mm_struct of the process
    __u64 pgd;     // its top page table, a kernel address
    __u32 is_vcpu;
    __u32 unused;
};

/// How many pieces one run of read_pieces copies at most, and how many pages the buffer has.
#define PIECES 1024
/// How many bytes of a list's element are kept, and how many elements one run of walk_list follows at most.
#define ELEMENT_SIZE 256
#define ELEMENTS (PIECES * 4096 / ELEMENT_SIZE)

/// One piece of kernel memory; KernelPiece in Swift.
struct piece {
    __u64 address;
    __u32 size;    // 1 to 4096
    __s32 result;  // 0, or -errno
};

/// What a run is to do and what it did; ReaderControl in Swift.
struct control {
    __u32 count;         // in: pieces or elements; out: elements copied
    __u32 element_size;  // bytes copied of each element, up to 256
    __u64 next;          // in and out: the link of the next element
    __u64 head;          // the list's head
    __u64 previous;      // in and out: the link before `next`
    __u32 link_offset;   // where in an element its link is
    __s32 status;        // 0 whole or more to come, 1 ended at the head, < 0 broken
    __s32 process;       // in: the process whose files find_vm_files looks at
    __u32 unused;
    struct piece pieces[PIECES];
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct control);
} controls SEC(".maps");

SEC("iter/task_file")
int find_vm_files(struct bpf_iter__task_file *context) {
    struct task_struct *task = context->task;
    struct file *file = context->file;
    __u32 zero = 0;
    struct control *control = bpf_map_lookup_elem(&controls, &zero);
    if (!task || !file || !control || task->tgid != control->process) return 0;
    if (BPF_CORE_READ(file, f_inode, i_sb, s_magic) != ANONYMOUS_INODES) return 0;
    // "kvm-vm" or "kvm-vcpu:3"
    char name[10] = {};
    const unsigned char *text = BPF_CORE_READ(file, f_path.dentry, d_name.name);
    if (bpf_probe_read_kernel_str(name, sizeof name, text) < 0) return 0;
    if (name[0] != 'k' || name[1] != 'v' || name[2] != 'm' || name[3] != '-' || name[4] != 'v') return 0;
    int is_vm = name[5] == 'm' && name[6] == 0;
    int is_vcpu = name[5] == 'c' && name[6] == 'p' && name[7] == 'u';
    if (!is_vm && !is_vcpu) return 0;
    struct file_record record = {
        .process = (__u32)task->tgid,
        .fd = context->fd,
        .object = (__u64)BPF_CORE_READ(file, private_data),
        .mm = (__u64)BPF_CORE_READ(task, mm),
        .pgd = (__u64)BPF_CORE_READ(task, mm, pgd),
        .is_vcpu = (__u32)is_vcpu,
    };
    bpf_seq_write(context->meta->seq, &record, sizeof record);
    return 0;
}

struct page {
    __u8 bytes[4096];
};
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, PIECES);
    __type(key, __u32);
    __type(value, struct page);
} pages SEC(".maps");

static long read_piece(__u32 index, struct control **context) {
    struct control *control = *context;
    struct page *page = bpf_map_lookup_elem(&pages, &index);
    if (!page || index >= PIECES) return 1;
    struct piece *piece = &control->pieces[index];
    __u32 size = piece->size;
    if (size > sizeof page->bytes) size = sizeof page->bytes;
    piece->result = (__s32)bpf_probe_read_kernel(page->bytes, size, (const void *)piece->address);
    return 0;
}

SEC("syscall")
int read_pieces(void *unused) {
    __u32 zero = 0;
    struct control *control = bpf_map_lookup_elem(&controls, &zero);
    if (!control) return 0;
    __u32 count = control->count;
    bpf_loop(count < PIECES ? count : PIECES, read_piece, &control, 0);
    return 0;
}

struct list_head {
    __u64 next, previous;
};

/// Copies the element whose link is at `next` and moves on. The list changes as it is read: a link that does not point
/// back where we came from ends the walk.
static long walk_step(__u32 index, struct control **context) {
    struct control *control = *context;
    if (control->next == control->head) {
        control->status = 1;
        return 1;
    }
    __u32 number = index / (4096 / ELEMENT_SIZE);
    struct page *page = bpf_map_lookup_elem(&pages, &number);
    if (!page) return 1;
    __u8 *element = page->bytes + (index & (4096 / ELEMENT_SIZE - 1)) * ELEMENT_SIZE;
    __u64 link = control->next;
    __u32 size = control->element_size;
    if (size > ELEMENT_SIZE) size = ELEMENT_SIZE;
    struct list_head links = {};
    __u64 address = link - control->link_offset;
    if (bpf_probe_read_kernel(element, size, (const void *)address) < 0 ||
        bpf_probe_read_kernel(&links, sizeof links, (const void *)link) < 0) {
        control->status = -14;  // -EFAULT
        return 1;
    }
    if (links.previous != control->previous) {
        control->status = -11;  // -EAGAIN: it changed
        return 1;
    }
    control->previous = link;
    control->next = links.next;
    control->count = index + 1;
    return 0;
}

SEC("syscall")
int walk_list(void *unused) {
    __u32 zero = 0;
    struct control *control = bpf_map_lookup_elem(&controls, &zero);
    if (!control) return 0;
    control->count = 0;
    control->status = 0;
    bpf_loop(ELEMENTS, walk_step, &control, 0);
    return 0;
}

char programs_license[] SEC("license") = "Dual MIT/GPL";
