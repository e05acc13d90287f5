/* CR3 leads to the registers of the local APIC. */
#include "hostile.inc"
        GUEST
        BEGIN   "root-device"
        movl    $0xfee00000, %eax
        movq    %rax, %cr3
        DONE    "root-device"
        STAY
