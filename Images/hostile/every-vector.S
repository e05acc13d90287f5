/* Interrupts of every vector in every delivery mode to every shorthand and to processors that are not there, those that no
 * interrupt may have and SMI among them; then every register of the local APIC read and written.
 */
#include "hostile.inc"
#include "faults.inc"
        GUEST
        FAULTS
        DEVICES
        BEGIN   "every-vector"
        sti
        xorl    %ebx, %ebx
1:      movl    %ebx, %eax              /* vector 7:0, mode 10:8 without INIT and SIPI, shorthand 19:18 */
        movl    %eax, %ecx
        andl    $0x700, %ecx
        cmpl    $0x500, %ecx
        jae     2f
        movl    $0x55000000, APIC + 0x310
        TRY     movl %eax, APIC + 0x300
        orl     $0x40000, %eax
        TRY     movl %eax, APIC + 0x300
        orl     $0xc0000, %eax
        TRY     movl %eax, APIC + 0x300
2:      addl    $7, %ebx
        cmpl    $0x800, %ebx
        jb      1b
        cli
        movl    $APIC, %ebx
3:      TRY     movl (%rbx), %eax
        TRY     movb 3(%rbx), %cl
        TRY     movq 1(%rbx), %rcx
        cmpl    $APIC + 0x300, %ebx     /* the command register has had its turn */
        je      4f
        TRY     movl $0xffffffff, (%rbx)
        TRY     movb $0xff, 5(%rbx)
        TRY     movl $0, (%rbx)
4:      addl    $16, %ebx
        cmpl    $APIC + 0x400, %ebx
        jb      3b
        DONE    "every-vector"
        POWER_OFF
