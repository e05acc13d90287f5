/* Instructions that are none: UD0, UD1, UD2, locked where nothing may be, bad ModRM, 32-bit ones in 64-bit mode. */
#include "hostile.inc"
#include "faults.inc"
.macro BYTES bytes:vararg
        leaq    .Lafter\@(%rip), %r15
        movq    %r15, resume(%rip)
        .byte   \bytes
.Lafter\@:
.endm
        GUEST
        FAULTS
        BEGIN   "undefined"
        BYTES   0x0f, 0x0b
        BYTES   0x0f, 0xff, 0xc0
        BYTES   0x0f, 0xb9, 0xc0
        BYTES   0xf0, 0x90
        BYTES   0xf0, 0x01, 0xc0
        BYTES   0xf0, 0x8b, 0x03
        BYTES   0x06
        BYTES   0x27
        BYTES   0xce
        BYTES   0xd4, 0x0a
        BYTES   0x9a
        BYTES   0xfe, 0xff
        BYTES   0x0f, 0x20, 0xc8
        BYTES   0x8e, 0xc8
        EXPECT  "undefined", 6, 10
        POWER_OFF
