/* The ARM guest's first instructions, and those that Swift has no words for.
 *
 * QEMU enters at PA 0x8000 in SVC mode without translation. Temporary tables at PA 0xc0_0000 map everything 1:1 and the first
 * 64 MiB again at 0x8000_0000, where the image is linked; Swift then builds the tables that matter.
 */
        .syntax unified
        .arm
        .arch   armv7-a
        .arch_extension virt
        .set    TEMPORARY, 0x00c00000
        .set    OPEN, 0xc02                 /* a section, AP = 11 */
        .set    RAM, 64                     /* MiB */

        .section .text.start, "ax"
        .globl  start
start:  mrs     r0, cpsr
        and     r1, r0, #0x1f
        cmp     r1, #0x1a                   /* Hyp mode, where a processor has it */
        bne     0f
        mov     r0, #0x1d3                  /* SVC mode, all interrupts off */
        msr     spsr_cxsf, r0
        adr     r0, 0f
        msr     elr_hyp, r0
        eret
0:      cpsid   if, #0x13
        mrc     p15, 0, r0, c0, c0, 5       /* MPIDR: other processors have nothing to do */
        tst     r0, #3
        bne     arm_wait
        ldr     r0, =TEMPORARY
        ldr     r2, =OPEN
        mov     r1, #0
1:      orr     r3, r2, r1, lsl #20
        str     r3, [r0, r1, lsl #2]
        add     r1, r1, #1
        cmp     r1, #4096
        bne     1b
        add     r4, r0, #0x2000
        mov     r1, #0
2:      orr     r3, r2, r1, lsl #20
        str     r3, [r4, r1, lsl #2]
        add     r1, r1, #1
        cmp     r1, #RAM
        bne     2b
        mcr     p15, 0, r0, c2, c0, 0       /* TTBR0 */
        mov     r1, #0
        mcr     p15, 0, r1, c2, c0, 2       /* TTBCR */
        mvn     r2, #0
        mcr     p15, 0, r2, c3, c0, 0       /* DACR: manager of all */
        mcr     p15, 0, r1, c8, c7, 0       /* TLBIALL */
        dsb
        isb
        mrc     p15, 0, r0, c1, c0, 0
        bic     r0, r0, #1 << 28            /* SCTLR.TRE */
        bic     r0, r0, #1 << 29            /* AFE */
        orr     r0, r0, #1                  /* M */
        mcr     p15, 0, r0, c1, c0, 0
        isb
        ldr     pc, =high
high:   ldr     sp, =stack_end
        ldr     r0, =0x80000000             /* PA 0: the exception vectors */
        ldr     r1, =arm_vectors
        ldm     r1!, {r2-r9}
        stm     r0!, {r2-r9}
        ldm     r1!, {r2-r9}
        stm     r0!, {r2-r9}
        ldr     r0, =0x80000000
        mcr     p15, 0, r0, c12, c0, 0      /* VBAR */
        isb
        bl      guest_main
        b       arm_wait

        .text
        .balign 32
        .globl  arm_vectors
arm_vectors:
        .rept   8
        ldr     pc, [pc, #24]
        .endr
        .word   unexpected, unexpected, on_svc, on_prefetch_abort, unexpected, unexpected, unexpected, unexpected

unexpected:
        b       unexpected

        .globl  arm_translate
arm_translate:
        cmp     r1, #1
        mcrlo   p15, 0, r0, c7, c8, 0
        mcreq   p15, 0, r0, c7, c8, 1
        bls     3f
        cmp     r1, #2
        mcreq   p15, 0, r0, c7, c8, 2
        mcrhi   p15, 0, r0, c7, c8, 3
3:      isb
        mrc     p15, 0, r0, c7, c4, 0
        bx      lr

/* The address holds `svc #0`: either it runs, or its fetch aborts. Both exceptions end this function. */
        .globl  arm_fetch
arm_fetch:
        push    {r4-r11, lr}
        ldr     r2, =saved_stack
        str     sp, [r2]
        mov     r3, #0
        mcr     p15, 0, r3, c7, c5, 0       /* ICIALLU */
        dsb
        isb
        mrs     r2, cpsr
        bic     r2, r2, #0x1f
        cmp     r1, #0
        orreq   r2, r2, #0x13
        orrne   r2, r2, #0x10
        msr     spsr_cxsf, r2
        mov     lr, r0
        movs    pc, lr
on_svc: mov     r0, #1
        b       4f
on_prefetch_abort:
        cps     #0x13
        mov     r0, #0
4:      ldr     r2, =saved_stack
        ldr     sp, [r2]
        pop     {r4-r11, pc}

/* Whatever the order in which the registers change, the image stays mapped where it is. */
        .globl  arm_set_tables
arm_set_tables:
        dsb
        mcr     p15, 0, r2, c2, c0, 1       /* TTBR1 */
        isb
        mcr     p15, 0, r0, c2, c0, 2       /* TTBCR */
        isb
        mcr     p15, 0, r1, c2, c0, 0       /* TTBR0 */
        mcr     p15, 0, r3, c3, c0, 0       /* DACR */
        mov     r0, #0
        mcr     p15, 0, r0, c8, c7, 0       /* TLBIALL */
        dsb
        isb
        bx      lr

        .globl  arm_enable_access_flag
arm_enable_access_flag:
        mrc     p15, 0, r0, c1, c0, 0
        orr     r0, r0, #1 << 29
        mcr     p15, 0, r0, c1, c0, 0
        isb
        bx      lr

        .globl  arm_register
arm_register:
        cmp     r0, #1
        mrclo   p15, 0, r1, c1, c0, 0
        mrceq   p15, 0, r1, c2, c0, 2
        bls     5f
        cmp     r0, #3
        mrclo   p15, 0, r1, c2, c0, 0
        mrceq   p15, 0, r1, c2, c0, 1
        bls     5f
        cmp     r0, #4
        mrceq   p15, 0, r1, c3, c0, 0
        bls     5f
        cmp     r0, #6
        mrclo   p15, 0, r1, c0, c1, 4
        mrceq   p15, 0, r1, c0, c0, 0
5:      mov     r0, r1
        bx      lr

        .globl  arm_wait
arm_wait:
        wfi
        b       arm_wait

/* What the compiler calls to clear r1 bytes at r0 (Run-time ABI for the Arm Architecture, 4.3.4). */
        .globl  __aeabi_memclr, __aeabi_memclr4, __aeabi_memclr8
__aeabi_memclr:
__aeabi_memclr4:
__aeabi_memclr8:
        mov     r2, #0
6:      subs    r1, r1, #1
        strbhs  r2, [r0], #1
        bhi     6b
        bx      lr

        .data
        .balign 8
saved_stack:
        .word   0
        .balign 8
        .space  8192
stack_end:
