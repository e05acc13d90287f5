/* KVM's own registers: clock, stolen time, page faults and ends of interrupts, each told to write into nothing, over the end of
 * RAM and of a page, over the tables that are in use; then time passes.
 */
#include "registers.inc"
.macro AT low, high=0
        movl    $\low, %eax
        movl    $\high, %edx
        TRY     wrmsr
.endm
.macro WRITE
        movl    %ebp, %ecx
        AT      0x3ff00001
        AT      0x3fffff9
        AT      0x3fffffd
        AT      0xfee00001
        AT      0xfffffff1, 0x000fffff
        AT      0x00000001, 0x80000000
        AT      0x1ffffd
        AT      boot_pd + 2048 + 1
        movl    $200, %ebx
.Lpause\@: pause
        decl    %ebx
        jnz     .Lpause\@
.endm
        GUEST
        FAULTS
        DEVICES
        BEGIN   "msr-clocks"
        RANGE   WRITE, 0x11, 2
        RANGE   WRITE, 0x4b564d00, 0x10
        sti
        movl    $0x20040, APIC + 0x320
        movl    $1000, APIC + 0x380
        UNTIL   interrupts, 20
        cli
        DONE    "msr-clocks"
        STAY
