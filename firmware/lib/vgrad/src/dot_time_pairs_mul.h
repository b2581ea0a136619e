/* dot_time_pairs_mul.h - what dot_time_row_mul.h does, with sources of 32 bits
 * by pairs of columns: four steps of one, then of the other, and so on.
 */
#ifndef VG_DOT_TIME_PAIRS_MUL_H
#define VG_DOT_TIME_PAIRS_MUL_H

#include "dot_time_c.h"
#include "fx.h"

/* The columns from z on by pairs, of steps a multiple of four. */
static inline void dot_time_pair(const int16_t *z, uint32_t apart,
                                 uint32_t columns, uint32_t steps,
                                 dot_paired *to)
{
    for (; columns > 1; columns -= 2, z += 2 * apart)
        for (uint32_t k = 0; k < steps; k += 4, to += 8)
            for (uint32_t i = 0; i < 4; i++) {
                to[i] = z[k + i];
                to[4 + i] = z[apart + k + i];
            }
}

/* clang-format off */

/* Four steps: 44 bytes of code. */
#define DOT_TIME_PAIRS_FOUR                                                    \
    "ldm.w r0!, {r4-r7}\n\t"                                                   \
    "ldm.w r1!, {r2, r3, r12, lr}\n\t"                                         \
    "smlal r8, r9, r4, r2\n\t"                                                 \
    "smlal r8, r9, r5, r3\n\t"                                                 \
    "smlal r8, r9, r6, r12\n\t"                                                \
    "smlal r8, r9, r7, lr\n\t"                                                 \
    "ldm.w r1!, {r2, r3, r12, lr}\n\t"                                         \
    "smlal r10, r11, r4, r2\n\t"                                               \
    "smlal r10, r11, r5, r3\n\t"                                               \
    "smlal r10, r11, r6, r12\n\t"                                              \
    "smlal r10, r11, r7, lr\n\t"

/* The columns but an odd last one, from r->paired; n is 4, 8, 12 or 16, exp 1
 * to 31.  On the stack what the sums start from, where the steps do; e, g, the
 * end of g, exp. */
static VG_NAKED void
dot_time_pairs_mul(VG_UNUSED(const dot_row *, r))
{
    __asm__ volatile(
        "push {r4-r11, lr}\n\t"
        "sub sp, #40\n\t"
        "ldm r0, {r0-r7}\n\t"
        "bic r5, #1\n\t"
        "add r5, r4, r5, lsl #2\n\t"
        "add r2, sp, #24\n\t"
        "mov r3, r0\n\t"
        "stm r2, {r3-r6}\n\t"
        "movs r8, #1\n\t"
        "lsl r8, r6\n\t"
        "lsr r8, #1\n\t"
        "mov r9, #0\n\t"
        "strd r8, r9, [sp]\n\t"
        "strd r8, r9, [sp, #8]\n\t"
        "movs r4, #11\n\t"
        "adr.w r5, 2f + 1\n\t"
        "mls r5, r1, r4, r5\n\t"
        "str r5, [sp, #16]\n\t"
        "mov r1, r7\n"
        "1:\n\t"
        "ldm.w sp, {r8-r11}\n\t"
        "ldr pc, [sp, #16]\n\t"
        DOT_TIME_PAIRS_FOUR DOT_TIME_PAIRS_FOUR
        DOT_TIME_PAIRS_FOUR DOT_TIME_PAIRS_FOUR
        "2:\n\t"
        "add r0, sp, #24\n\t"
        "ldm.w r0, {r0, r2, r3, r4}\n\t"
        "rsb r5, r4, #32\n\t"
        "lsr r8, r4\n\t"
        "lsl r9, r5\n\t"
        "orr r8, r9\n\t"
        "lsr r10, r4\n\t"
        "lsl r11, r5\n\t"
        "orr r10, r11\n\t"
        "strd r8, r10, [r2], #8\n\t"
        "str r2, [sp, #28]\n\t"
        "cmp r2, r3\n\t"
        "bne.w 1b\n\t"
        "add sp, #40\n\t"
        "pop {r4-r11, pc}");
}

/* clang-format on */

#undef DOT_TIME_PAIRS_FOUR

#endif
