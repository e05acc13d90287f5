/* CPUID of every leaf in the known ranges and of some outside, with many subleaves. */
#include "hostile.inc"
.macro LEAVES first, count
        movl    $\first, %ebp
.Lleaf\@: xorl  %esi, %esi
.Lsub\@: movl   %ebp, %eax
        movl    %esi, %ecx
        cpuid
        incl    %esi
        cmpl    $10, %esi
        jb      .Lsub\@
        movl    %ebp, %eax
        movl    $-1, %ecx
        cpuid
        incl    %ebp
        cmpl    $\first + \count, %ebp
        jne     .Lleaf\@
.endm
        GUEST
        BEGIN   "cpuid-sweep"
        LEAVES  0, 64
        LEAVES  0x20000000, 4
        LEAVES  0x40000000, 32
        LEAVES  0x40000100, 8
        LEAVES  0x80000000, 64
        LEAVES  0x8fffffff, 2
        LEAVES  0xc0000000, 8
        LEAVES  0xfffffffe, 1
        DONE    "cpuid-sweep"
        POWER_OFF
