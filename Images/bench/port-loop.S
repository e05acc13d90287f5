/* Writes one byte to the console, then 200,000 times to a port that nothing listens to, then one more byte to the console,
 * and powers off: the time between the two bytes is 200,000 exits.
 */
#include "hostile.inc"
        GUEST
        READY
        OUT8    SERIAL, '<'
        movl    $200000, %ecx
        movw    $0x80, %dx
1:      outb    %al, %dx
        decl    %ecx
        jnz     1b
        OUT8    SERIAL, '>'
        POWER_OFF
