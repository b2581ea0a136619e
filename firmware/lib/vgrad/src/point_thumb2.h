/* point_thumb2.h - point_lstm of point_c.h for Thumb-2.  A naked function, for
 * a unit needs all fourteen registers:
 *
 *     r0 o   r1 from there to f, and twice as far to i   lr to g   r4 c   r8 h
 *     r9, r10 the tables' rows around 0
 *     r11 12 / 2^bits of both, q16, or without the DSP extension a value
 *     r2 the end of o   r3, r5-r7, r12 values
 *
 * On the stack the clamps.
 */
#ifndef VG_POINT_THUMB2_H
#define VG_POINT_THUMB2_H

#include "lut.h"

/* clang-format off */

/* As LUT_THUMB2_ROW and _UD of lut_thumb2.h; and r5 times the upper half of r12.
 */
#if VG_DSP
#define POINT_THUMB2_ROW(zero, half, bits_less_2)                              \
    "smlaw" half " r5, r5, r11, " zero "\n\t"
#define POINT_THUMB2_UD                                                        \
    "smlabb r7, r7, r3, r7\n\t"                                                \
    "smultb r7, r7, r3\n\t"
#define POINT_THUMB2_UPPER "smulbt r5, r5, r12\n\t"
#define POINT_THUMB2_SCALE                                                     \
    "movw r11, #0x600\n\t"                                                     \
    "movt r11, #0xc00\n\t"
#else
#define POINT_THUMB2_ROW(zero, half, bits_less_2)                              \
    "add r5, r5, r5, lsl #1\n\t"                                               \
    "add r5, " zero ", r5, asr #" bits_less_2 "\n\t"
#define POINT_THUMB2_UD                                                        \
    "sxth r11, r7\n\t"                                                         \
    "mla r7, r11, r3, r7\n\t"                                                  \
    "asr r7, r7, #16\n\t"                                                      \
    "mul r7, r7, r3\n\t"
#define POINT_THUMB2_UPPER                                                     \
    "asr r12, r12, #16\n\t"                                                    \
    "mul r5, r5, r12\n\t"
#define POINT_THUMB2_SCALE
#endif

/* lut_cubic of z = r5 as in lut_thumb2.h, not yet shifted by 16, in to.
 * half: of r11. */
#define POINT_THUMB2_CUBIC(to, zero, half, bits, bits_less_2)                  \
    "sbfx r3, r5, #0, #" bits "\n\t"                                           \
    "subs r5, r5, r3\n\t"                                                      \
    POINT_THUMB2_ROW(zero, half, bits_less_2)                                  \
    "ldm r5, {r5-r7}\n\t"                                                      \
    POINT_THUMB2_UD                                                            \
    "add r6, r6, r7, asr #" bits_less_2 "\n\t"                                 \
    "mla " to ", r6, r3, r5\n\t"
#define POINT_THUMB2_SIGMOID(to) POINT_THUMB2_CUBIC(to, "r9", "b", "9", "7")
#define POINT_THUMB2_TANH(to) POINT_THUMB2_CUBIC(to, "r10", "t", "8", "6")

static VG_NAKED uint32_t
point_thumb2_units(VG_UNUSED(int16_t *, i),
                   VG_UNUSED(uint32_t, n),
                   VG_UNUSED(int32_t *, c),
                   VG_UNUSED(int16_t *, h),
                   VG_UNUSED(const struct lut_seg *, sigmoid),
                   VG_UNUSED(const struct lut_seg *, tanh))
{
    __asm__ volatile(
        "push {r4-r11, lr}\n\t"
        "ldrd r9, r10, [sp, #36]\n\t"
        "mov r4, r2\n\t"
        "mov r8, r3\n\t"
        "lsl lr, r1, #1\n\t"
        "rsb r1, lr, #0\n\t"
        "add r0, r0, lr, lsl #1\n\t"
        "add r2, r0, lr\n\t"
        "movs r3, #0\n\t"
        "push {r3}\n\t"
        POINT_THUMB2_SCALE
        /* r12 = i g */
        "1:\n\t"
        "ldrsh r5, [r0, lr]\n\t"
        POINT_THUMB2_TANH("r5")
        "asr r12, r5, #16\n\t"
        "strh r12, [r0, lr]\n\t"
        "ldrsh r5, [r0, r1, lsl #1]\n\t"
        POINT_THUMB2_SIGMOID("r5")
        "asrs r5, r5, #16\n\t"
        "strh r5, [r0, r1, lsl #1]\n\t"
        "mul r12, r12, r5\n\t"
        /* r6 = fx_mix: what LSRS shifts out last is carried */
        "ldrsh r5, [r0, r1]\n\t"
        POINT_THUMB2_SIGMOID("r5")
        "asrs r5, r5, #16\n\t"
        "strh r5, [r0, r1]\n\t"
        "ldr r6, [r4]\n\t"
        "smull r6, r3, r5, r6\n\t"
        "adds r6, r6, r12, lsl #6\n\t"
        "adc r3, r3, r12, asr #26\n\t"
        "lsrs r6, r6, #14\n\t"
        "adc r6, r6, r3, lsl #18\n\t"
        "teq r6, r6, lsl #1\n\t"
        "bmi 3f\n"
        "2:\n\t"
        "str r6, [r4], #4\n\t"
        "add r5, r6, #128\n\t"
        "ssat r5, #16, r5, asr #8\n\t"
        POINT_THUMB2_TANH("r12")
        "ldrsh r5, [r0]\n\t"
        POINT_THUMB2_SIGMOID("r5")
        "asrs r5, r5, #16\n\t"
        "strh r5, [r0], #2\n\t"
        POINT_THUMB2_UPPER
        "add r5, r5, #8192\n\t"
        "asrs r5, r5, #14\n\t"
        "strh r5, [r8], #2\n\t"
        "cmp r0, r2\n\t"
        "bne 1b\n\t"
        "pop {r0}\n\t"
        "pop {r4-r11, pc}\n"
        /* not within 31 bits: 2^30 itself is a state, the rest are clamped */
        "3:\n\t"
        "mov r3, #0x40000000\n\t"
        "cmp r6, r3\n\t"
        "beq 2b\n\t"
        "ite lt\n\t"
        "rsblt r6, r3, #0\n\t"
        "movge r6, r3\n\t"
        "ldr r3, [sp]\n\t"
        "adds r3, #1\n\t"
        "str r3, [sp]\n\t"
        "b 2b");
}

#undef POINT_THUMB2_TANH
#undef POINT_THUMB2_SIGMOID
#undef POINT_THUMB2_CUBIC
#undef POINT_THUMB2_SCALE
#undef POINT_THUMB2_UPPER
#undef POINT_THUMB2_UD
#undef POINT_THUMB2_ROW

/* clang-format on */

static inline uint32_t point_thumb2_lstm(int16_t *i, uint32_t n, int32_t *c,
                                         int16_t *h)
{
    return point_thumb2_units(i, n, c, h, LUT_SIGMOID, LUT_TANH);
}

#endif
