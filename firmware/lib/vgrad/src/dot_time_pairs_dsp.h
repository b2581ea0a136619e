/* dot_time_pairs_dsp.h - what dot_time_row_dsp.h does, with sources that lie by
 * pairs of columns: four steps of one, then of the other, and so on.
 */
#ifndef VG_DOT_TIME_PAIRS_DSP_H
#define VG_DOT_TIME_PAIRS_DSP_H

#include "dot_dsp_four.h"
#include "dot_time_c.h"
#include "fx.h"

/* The columns from z on by pairs, of steps a multiple of four. */
static inline void dot_time_pair(const int16_t *z, uint32_t apart,
                                 uint32_t columns, uint32_t steps,
                                 dot_paired *to)
{
    for (; columns > 1; columns -= 2, z += 2 * apart)
        for (uint32_t k = 0; k < steps; k += 4, to += 8) {
            memcpy(to, z + k, 8);
            memcpy(to + 4, z + apart + k, 8);
        }
}

/* clang-format off */

/* The errors a, b to the words of their lows, in a, and of their highs, in lr.
 */
#define DOT_TIME_PAIRS_CUT(a, b)                                               \
    "asr lr, " a ", #12\n\t"                                                   \
    "pkhbt lr, lr, " b ", lsl #4\n\t"                                          \
    "ubfx " a ", " a ", #0, #12\n\t"                                           \
    "bfi " a ", " b ", #16, #12\n\t"                                           \
    "strd " a ", lr, [r12], #8\n\t"

/* The columns but an odd last one, from r->paired; n is 4, 8, 12 or 16, exp 12
 * or more.  On the stack:
 *
 *      0 half, 0, half, 0: the sums start from them
 *     16 where the steps start
 *     24 up to 88: e, cut
 *     88 where that begins, g, the end of g, exp - 12
 */
static VG_NAKED void
dot_time_pairs_dsp(VG_UNUSED(const dot_row *, r))
{
    __asm__ volatile(
        "push {r4-r11, lr}\n\t"
        "sub sp, #104\n\t"
        "ldm r0, {r0-r7}\n\t"
        "bic r5, #1\n\t"
        "add r5, r4, r5, lsl #2\n\t"
        "subs r6, #12\n\t"
        "mov r8, #2048\n\t"
        "lsl r8, r6\n\t"
        "mov r9, #0\n\t"
        "strd r8, r9, [sp]\n\t"
        "strd r8, r9, [sp, #8]\n\t"
        "add r2, sp, #88\n\t"
        "sub r3, r2, r1, lsl #2\n\t"
        "stm r2, {r3-r6}\n\t"
        "movs r4, #10\n\t"
        "adr.w r5, 2f + 1\n\t"
        "mls r5, r1, r4, r5\n\t"
        "str r5, [sp, #16]\n\t"
        "mov r12, r3\n"
        "0:\n\t"
        "ldm.w r0!, {r8-r11}\n\t"
        DOT_TIME_PAIRS_CUT("r8", "r9")
        DOT_TIME_PAIRS_CUT("r10", "r11")
        "cmp r12, r2\n\t"
        "bne 0b\n\t"
        "mov r0, r3\n\t"
        "mov r1, r7\n"
        "1:\n\t"
        "ldm.w sp, {r8-r11}\n\t"
        "ldr pc, [sp, #16]\n\t"
        DOT_DSP_FOUR DOT_DSP_FOUR DOT_DSP_FOUR DOT_DSP_FOUR
        "2:\n\t"
        "ldm.w r0, {r0, r2, r3, r4}\n\t"
        "add r9, r9, r8, asr #12\n\t"
        "add r11, r11, r10, asr #12\n\t"
        "asr r9, r4\n\t"
        "asr r11, r4\n\t"
        "strd r9, r11, [r2], #8\n\t"
        "str r2, [sp, #92]\n\t"
        "cmp r2, r3\n\t"
        "bne.w 1b\n\t"
        "add sp, #104\n\t"
        "pop {r4-r11, pc}");
}

/* clang-format on */

#undef DOT_TIME_PAIRS_CUT

#endif
