/* The local APIC's timer with the smallest counts there are: periodic, one after the other, by deadlines that are past. */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        DEVICES
        BEGIN   "apic-timer-storm"
        sti
        movl    $0xb, APIC + 0x3e0      /* divide by 1 */
        movl    $0x20040, APIC + 0x320  /* periodic */
        movl    $1, APIC + 0x380
        UNTIL   interrupts, 100
        movl    $0x40, APIC + 0x320     /* one at a time */
1:      movl    $1, APIC + 0x380
        cmpl    $1000, interrupts(%rip)
        jb      1b
        movl    $0x40040, APIC + 0x320  /* at a deadline, in the past or in 500 years */
        movl    $1000, %ebx
2:      movl    $0x6e0, %ecx
        movl    $1, %eax
        xorl    %edx, %edx
        TRY     wrmsr
        movl    $-1, %edx
        TRY     wrmsr
        decl    %ebx
        jnz     2b
        DONE    "apic-timer-storm"
        movl    $0x20040, APIC + 0x320
        movl    $1, APIC + 0x380
        STAY
