/* Nothing but the stage reports and the end: what a monitor costs by itself. The instructions encode alike in 32-bit and
 * 64-bit mode, so that one entry serves both protocols. Without a power-off port it ends by a triple fault.
 */
#include "hostile.inc"
        NOTES   entry, entry
        .globl  entry64
entry64:
entry:  READY
        OUT8    DEBUG_EXIT, 0
        movw    $POWER, %dx
        movb    $0x20, %ah
        outw    %ax, %dx
        ud2
        SMALL_TABLES
