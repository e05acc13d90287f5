/* Writes one byte to the console with its first instructions, reports the stages and powers off: what starting and ending a
 * guest costs.
 */
#include "hostile.inc"
        NOTES   entry, entry
        .globl  entry64
entry64:
entry:  OUT8    SERIAL, '!'
        READY
        OUT8    DEBUG_EXIT, 0
        ud2
        SMALL_TABLES
