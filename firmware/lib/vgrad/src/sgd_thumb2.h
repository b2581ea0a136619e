/* sgd_thumb2.h - two weights at once on Thumb-2; with the DSP extension SMMULR
 * is rs(a b, 32).
 *
 *     r0 the end of g   r1 hi   r2 lo   r3 g   r4, r5 gradients, steps, sums
 *     r6, r7 left and by of the clipping   r8, r9 of the rate
 */
#ifndef VG_SGD_THUMB2_H
#define VG_SGD_THUMB2_H

#include "sgd_c.h"

#ifdef __ARM_FEATURE_DSP
#define SGD_TIMES(x, by) "smmulr " x ", " x ", " by "\n\t"

/* r10, r11: of both halves of a word what makes hi within +-(VG_HI_FULL - 1) a
 * number from 0 on, and the greatest. */
#define SGD_CONSTANTS                                                          \
    "movw r10, #24575\n\t"                                                     \
    "movt r10, #24575\n\t"                                                     \
    "movw r11, #49150\n\t"                                                     \
    "movt r11, #49150\n\t"

#define SGD_MOVE_TWO                                                           \
    "ldr r12, [r1]\n\t"                                                        \
    "ldr lr, [r2]\n\t"                                                         \
    "sxtah r4, r4, lr\n\t"                                                     \
    "sxtah r5, r5, lr, ror #16\n\t"                                            \
    "add r4, r4, r12, lsl #16\n\t"                                             \
    "bfc r12, #0, #16\n\t"                                                     \
    "add r5, r12\n\t"                                                          \
    "pkhbt lr, r4, r5, lsl #16\n\t"                                            \
    "add r4, #32768\n\t"                                                       \
    "add r5, #32768\n\t"                                                       \
    "pkhtb r12, r5, r4, asr #16\n\t"                                           \
    "uadd16 r4, r12, r10\n\t"                                                  \
    "uqsub16 r4, r4, r11\n\t"                                                  \
    "cbnz r4, 3f\n\t"                                                          \
    "str r12, [r1], #4\n\t"                                                    \
    "str lr, [r2], #4\n\t"                                                     \
    "strd r4, r4, [r3], #8\n\t"

enum { SGD_ALIGN = 4 };
#else
#define SGD_TIMES(x, by)                                                       \
    "smull r10, " x ", " x ", " by "\n\t"                                      \
    "lsls r10, #1\n\t"                                                         \
    "adc " x ", #0\n\t"

#define SGD_CONSTANTS "mov lr, #0\n\t"

/* The numbers are SGD_FULL and twice that. */
#define SGD_MOVE_TWO                                                           \
    "ldrsh r10, [r2]\n\t"                                                      \
    "ldrsh r11, [r1]\n\t"                                                      \
    "add r4, r10\n\t"                                                          \
    "add r4, r4, r11, lsl #16\n\t"                                             \
    "ldrsh r10, [r2, #2]\n\t"                                                  \
    "ldrsh r11, [r1, #2]\n\t"                                                  \
    "add r5, r10\n\t"                                                          \
    "add r5, r5, r11, lsl #16\n\t"                                             \
    "add r10, r4, #32768\n\t"                                                  \
    "add r11, r5, #32768\n\t"                                                  \
    "add r12, r10, #0x5F800000\n\t"                                            \
    "cmp r12, #0xBF000000\n\t"                                                 \
    "bhs 3f\n\t"                                                               \
    "add r12, r11, #0x5F800000\n\t"                                            \
    "cmp r12, #0xBF000000\n\t"                                                 \
    "bhs 3f\n\t"                                                               \
    "strh r4, [r2], #2\n\t"                                                    \
    "strh r5, [r2], #2\n\t"                                                    \
    "asr r10, #16\n\t"                                                         \
    "strh r10, [r1], #2\n\t"                                                   \
    "asr r11, #16\n\t"                                                         \
    "strh r11, [r1], #2\n\t"                                                   \
    "strd lr, lr, [r3], #8\n\t"

enum { SGD_ALIGN = 2 };
#endif

#define SGD_SCALE(left, by)                                                    \
    "lsl r4, " left "\n\t"                                                     \
    "lsl r5, " left "\n\t" SGD_TIMES("r4", by) SGD_TIMES("r5", by)

#define SGD_TWO(clip)                                                          \
    "ldrd r4, r5, [r3]\n\t" clip SGD_SCALE("r8", "r9") SGD_MOVE_TWO            \
        "cmp r3, r0\n\t"

#define SGD_IS(type, name) type name __attribute__((unused))

/* An even number of weights, not 0, hi and lo at a multiple of SGD_ALIGN. */
static __attribute__((naked, noinline)) int32_t *
sgd_thumb2_pairs(SGD_IS(const vg_sgd *, s), SGD_IS(vg_sig *, hi),
                 SGD_IS(int16_t *, lo), SGD_IS(int32_t *, g),
                 SGD_IS(const int32_t *, end))
{
    __asm__ volatile(
        "push {r4-r11, lr}\n\t" SGD_CONSTANTS "ldrd r6, r7, [r0]\n\t"
        "ldrd r8, r9, [r0, #12]\n\t"
        "ldr r0, [sp, #36]\n\t"
        "cmp r7, #0\n\t"
        "beq.w 2f\n"
        "1:\n\t" SGD_TWO(SGD_SCALE("r6", "r7")) "bne.w 1b\n\t"
                                                "b 3f\n"
                                                "2:\n\t" SGD_TWO(
                                                    "") "bne.w 2b\n"
                                                        "3:\n\t"
                                                        "mov r0, r3\n\t"
                                                        "pop {r4-r11, pc}");
}

static inline int32_t *sgd_thumb2(const vg_sgd *s, vg_sig *hi, int16_t *lo,
                                  int32_t *g, const int32_t *end)
{
    const uint32_t pairs = (uint32_t)(end - g) / 2;

    if (s->clip.right)
        return sgd_c(s, hi, lo, g, end);
    if (!pairs || (uintptr_t)hi % SGD_ALIGN)
        return g;
    return sgd_thumb2_pairs(s, hi, lo, g, g + 2 * pairs);
}

#undef SGD_IS
#undef SGD_TWO
#undef SGD_SCALE
#undef SGD_MOVE_TWO
#undef SGD_CONSTANTS
#undef SGD_TIMES

#endif
