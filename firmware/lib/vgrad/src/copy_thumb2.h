/* copy_thumb2.h - vg_copy on Thumb-2, whose words may lie anywhere: as fast as
 * memcpy for so few numbers, and a program may have no other use for that one.
 */
#ifndef VG_COPY_THUMB2_H
#define VG_COPY_THUMB2_H

#include "core.h"

/* clang-format off */

#define COPY_THUMB2_TWO                                                        \
    "ldr r3, [r1], #4\n\t"                                                     \
    "str r3, [r0], #4\n\t"

static VG_NAKED void copy_thumb2(VG_UNUSED(vg_sig *, to),
                                 VG_UNUSED(const vg_sig *, from),
                                 VG_UNUSED(uint32_t, n))
{
    __asm__ volatile("subs r2, #8\n\t"
                     "blo 2f\n"
                     "1:\n\t" COPY_THUMB2_TWO COPY_THUMB2_TWO
                              COPY_THUMB2_TWO COPY_THUMB2_TWO
                     "subs r2, #8\n\t"
                     "bhs 1b\n"
                     "2:\n\t"
                     "adds r2, #8\n\t"
                     "beq 4f\n"
                     "3:\n\t"
                     "ldrh r3, [r1], #2\n\t"
                     "strh r3, [r0], #2\n\t"
                     "subs r2, #1\n\t"
                     "bne 3b\n"
                     "4:\n\t"
                     "bx lr");
}

/* clang-format on */

#undef COPY_THUMB2_TWO

#endif
