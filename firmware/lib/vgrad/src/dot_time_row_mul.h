/* dot_time_row_mul.h - Thumb-2 without the DSP extension (Cortex-M3): SMLAL
 * adds a product onto 64 bits.
 */
#ifndef VG_DOT_TIME_ROW_MUL_H
#define VG_DOT_TIME_ROW_MUL_H

#include "dot_time_row.h"

/* clang-format off */

/* A step, and its error. */
#define DOT_TIME_MUL_STEP(e)                                                   \
    "ldrsh r8, [r1], #2\n\t"                                                   \
    "ldrsh r9, [r2], #2\n\t"                                                   \
    "smlal r10, r11, r8, " e "\n\t"                                            \
    "smlal r12, lr, r9, " e "\n\t"
#define DOT_TIME_MUL_ONE                                                       \
    "ldr.w r4, [r0], #4\n\t"                                                   \
    DOT_TIME_MUL_STEP("r4")
#define DOT_TIME_MUL_FOUR                                                      \
    "ldm.w r0!, {r4-r7}\n\t"                                                   \
    DOT_TIME_MUL_STEP("r4")                                                    \
    DOT_TIME_MUL_STEP("r5")                                                    \
    DOT_TIME_MUL_STEP("r6")                                                    \
    DOT_TIME_MUL_STEP("r7")

/* rs(sum, exp), which fits. */
#define DOT_TIME_MUL_ROUND                                                     \
    "rsb r7, r4, #32\n\t"                                                      \
    "lsr r10, r4\n\t"                                                          \
    "lsl r11, r7\n\t"                                                          \
    "orr r11, r11, r10\n\t"                                                    \
    "lsr r12, r4\n\t"                                                          \
    "lsl lr, r7\n\t"                                                           \
    "orr lr, lr, r12\n\t"

/* n is 1 to 16, exp 1 to 31. */
static VG_NAKED void
dot_time_row_mul(VG_UNUSED(const dot_row *, r))
{
    __asm__ volatile(
        DOT_TIME_ROW_ENTER("40", "", "1", "20", "17 * 4")
        DOT_TIME_ROW_COLUMNS("40",
                             DOT_TIME_MUL_ONE DOT_TIME_MUL_ONE DOT_TIME_MUL_ONE,
                             DOT_TIME_MUL_FOUR, DOT_TIME_MUL_ROUND));
}

/* clang-format on */

#endif
