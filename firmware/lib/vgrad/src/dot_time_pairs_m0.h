/* dot_time_pairs_m0.h - what dot_time_row_m0.h does, with sources of 32 bits,
 * one column after the other.
 */
#ifndef VG_DOT_TIME_PAIRS_M0_H
#define VG_DOT_TIME_PAIRS_M0_H

#include "dot_time_row_m0.h"

/* The columns from z on, an even number of them. */
static inline void dot_time_pair(const int16_t *z, uint32_t apart,
                                 uint32_t columns, uint32_t steps,
                                 dot_paired *to)
{
    for (columns &= ~(uint32_t)1; columns; columns--, z += apart)
        for (uint32_t k = 0; k < steps; k++)
            *to++ = z[k];
}

/* clang-format off */

/* Two steps: 20 bytes of code. */
#define DOT_TIME_PAIRS_TWO                                                     \
    "ldmia r0!, {r2-r5}\n\t"                                                   \
    "ldmia r1!, {r6, r7}\n\t"                                                  \
    "muls r2, r6\n\t"                                                          \
    "muls r3, r6\n\t"                                                          \
    "muls r4, r7\n\t"                                                          \
    "muls r5, r7\n\t"                                                          \
    "add r8, r2\n\t"                                                           \
    "add r9, r3\n\t"                                                           \
    "add r8, r4\n\t"                                                           \
    "add r9, r5\n\t"
#define DOT_TIME_PAIRS_FOUR DOT_TIME_PAIRS_TWO DOT_TIME_PAIRS_TWO

/* The columns but an odd last one, from r->paired; n and exp as there. */
static VG_NAKED void
dot_time_pairs_m0(VG_UNUSED(const dot_row *, r))
{
    __asm__ volatile(
        DOT_TIME_M0_ROW("ldr r3, [r0]\n\t"
                        "lsrs r6, r6, #1\n\t"
                        "lsls r6, r6, #1\n\t"
                        "movs r4, #0\n\t",
                        "10", DOT_TIME_PAIRS_FOUR));
}

/* clang-format on */

#undef DOT_TIME_PAIRS_FOUR
#undef DOT_TIME_PAIRS_TWO

#endif
