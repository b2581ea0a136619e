/* dot_time_row_dsp.h - cores with the DSP extension (Cortex-M4, M7, M33, M55):
 * SMLAD adds the products of two steps onto 32 bits, for errors that are cut
 * into halves (dot_time_piece.h): two steps in two words, the lows and then the
 * highs.
 */
#ifndef VG_DOT_TIME_ROW_DSP_H
#define VG_DOT_TIME_ROW_DSP_H

#include "dot_time_row.h"

/* clang-format off */

/* e[r1] from r0 on, to the stack. */
#define DOT_TIME_DSP_CUT                                                       \
    "add r7, sp, #40\n\t"                                                      \
    "add lr, r0, r1, lsl #2\n"                                                 \
    "1:\n\t"                                                                   \
    "ldrd r8, r9, [r0], #8\n\t"                                                \
    "asr r10, r8, #12\n\t"                                                     \
    "pkhbt r10, r10, r9, lsl #4\n\t"                                           \
    "ubfx r8, r8, #0, #12\n\t"                                                 \
    "bfi r8, r9, #16, #12\n\t"                                                 \
    "strd r8, r10, [r7], #8\n\t"                                               \
    "cmp r0, lr\n\t"                                                           \
    "bne 1b\n\t"                                                               \
    "add r0, sp, #40\n\t"                                                      \
    "subs r6, #12\n\t"

#define DOT_TIME_DSP_TWO                                                       \
    "ldrd r4, r5, [r0], #8\n\t"                                                \
    "ldr r8, [r1], #4\n\t"                                                     \
    "ldr r9, [r2], #4\n\t"                                                     \
    "smlad r10, r4, r8, r10\n\t"                                               \
    "smlad r11, r5, r8, r11\n\t"                                               \
    "smlad r12, r4, r9, r12\n\t"                                               \
    "smlad lr, r5, r9, lr\n"

#define DOT_TIME_DSP_FOUR                                                      \
    "ldm.w r0!, {r4-r7}\n\t"                                                   \
    "ldrd r8, r9, [r1], #8\n\t"                                                \
    "smlad r10, r4, r8, r10\n\t"                                               \
    "smlad r11, r5, r8, r11\n\t"                                               \
    "smlad r10, r6, r9, r10\n\t"                                               \
    "smlad r11, r7, r9, r11\n\t"                                               \
    "ldrd r8, r9, [r2], #8\n\t"                                                \
    "smlad r12, r4, r8, r12\n\t"                                               \
    "smlad lr, r5, r8, lr\n\t"                                                 \
    "smlad r12, r6, r9, r12\n\t"                                               \
    "smlad lr, r7, r9, lr\n\t"

/* rs(2^12 high + low, exp) by two floors. */
#define DOT_TIME_DSP_ROUND                                                     \
    "add r11, r11, r10, asr #12\n\t"                                           \
    "add lr, lr, r12, asr #12\n\t"                                             \
    "asr r11, r4\n\t"                                                          \
    "asr lr, r4\n\t"

/* n is even, 2 to 16, and a source lies at a word; exp is 12 or more. */
static VG_NAKED void
dot_time_row_dsp(VG_UNUSED(const dot_row *, r))
{
    __asm__ volatile(
        DOT_TIME_ROW_ENTER("104", DOT_TIME_DSP_CUT, "4096", "14", "11 * 4")
        DOT_TIME_ROW_COLUMNS("104", DOT_TIME_DSP_TWO, DOT_TIME_DSP_FOUR,
                             DOT_TIME_DSP_ROUND));
}

/* clang-format on */

#endif
