/* The bootfs: the files of resea's tasks, linked into the kernel's image (GuestKernel/Processes/ReseaTasks.swift reads it).
 *
 * Header of 64 bytes: magic, number of files. An entry of 64 bytes each: offset, size, 1 if it starts at boot, name.
 * BOOTFS_VM, BOOTFS_PROCESS and BOOTFS_STILL are the files' paths.
 */
    .section .bootfs, "a"
    .p2align 12
bootfs:
    .ascii "vtbootfs"
    .quad 3
    .balign 64
    .quad vm - bootfs, vm_end - vm, 0
    .asciz "vm"
    .balign 64
    .quad process - bootfs, process_end - process, 1
    .asciz "process"
    .balign 64
    .quad still - bootfs, still_end - still, 1
    .asciz "still"
    .balign 64

    .p2align 12
vm:
    .incbin BOOTFS_VM
vm_end:
    .p2align 12
process:
    .incbin BOOTFS_PROCESS
process_end:
    .p2align 12
still:
    .incbin BOOTFS_STILL
still_end:
    .p2align 12

    .section .note.GNU-stack, "", @progbits
