/* Loads of the task register with what is no TSS, lies beyond the table, or is busy. */
#include "hostile.inc"
#include "faults.inc"
#include "ring3.inc"
.macro TASKREG value
        movl    $\value, %eax
        TRY     ltr %ax
.endm
        GUEST
        FAULTS
        BEGIN   "tss-wrong"
        TASKS
        TASKREG 0
        TASKREG 0x10
        TASKREG 0xfff8
        TASKREG 0x1c
        TASKREG TASK
        EXPECT  "tss-wrong", 13, 4
        POWER_OFF
