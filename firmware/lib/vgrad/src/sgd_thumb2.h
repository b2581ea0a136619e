/* sgd_thumb2.h - two weights at once on Thumb-2; with the DSP extension SMMULR
 * is rs(a b, 32), and SMMLAR adds that.  A word of hi and one of lo + 2^15 give
 * both masters + 2^15, and these the words again.
 *
 *     r0 the end of g   r1 hi   r2 lo   r3 g   r4, lr gradients and steps
 *     r5, r12 masters + 2^15   r6, r7 left and by of the clipping, r8, r9 of
 *     the rate
 */
#ifndef VG_SGD_THUMB2_H
#define VG_SGD_THUMB2_H

#include "sgd_c.h"

#if VG_DSP
#define SGD_TIMES(x, by) "smmulr " x ", " x ", " by "\n\t"
#define SGD_STEP(sum, x, by) "smmlar " sum ", " x ", " by ", " sum "\n\t"

/* r10, r11: of both halves of a word what makes hi within +-(VG_HI_FULL - 1) a
 * number from 0 on, and the greatest. */
#define SGD_CONSTANTS                                                          \
    "movw r10, #24575\n\t"                                                     \
    "movt r10, #24575\n\t"                                                     \
    "movw r11, #49150\n\t"                                                     \
    "movt r11, #49150\n\t"

#define SGD_MASTERS                                                            \
    "pkhbt r5, lr, r12, lsl #16\n\t"                                           \
    "pkhtb r12, r12, lr, asr #16\n\t"

/* lr <- lo + 2^15, and hi, unless one is near its limit. */
#define SGD_WORDS                                                              \
    "pkhtb r4, r12, r5, asr #16\n\t"                                           \
    "pkhbt lr, r5, r12, lsl #16\n\t"                                           \
    "uadd16 r5, r4, r10\n\t"                                                   \
    "uqsub16 r5, r5, r11\n\t"                                                  \
    "cbnz r5, 3f\n\t"

#define SGD_HI "r4"
#define SGD_ZERO "r5"
#else
#define SGD_TIMES(x, by)                                                       \
    "smull r10, " x ", " x ", " by "\n\t"                                      \
    "lsls r10, #1\n\t"                                                         \
    "adc " x ", " x ", #0\n\t"
#define SGD_STEP(sum, x, by)                                                   \
    "smull r10, " x ", " x ", " by "\n\t"                                      \
    "lsls r10, #1\n\t"                                                         \
    "adc " sum ", " sum ", " x "\n\t"

#define SGD_CONSTANTS "mov r11, #0\n\t"

#define SGD_MASTERS                                                            \
    "mov r5, lr\n\t"                                                           \
    "bfi r5, r12, #16, #16\n\t"                                                \
    "lsr lr, #16\n\t"                                                          \
    "bfi r12, lr, #0, #16\n\t"

/* The numbers are SGD_FULL and twice that. */
#define SGD_WORDS                                                              \
    "add r10, r5, #0x5F800000\n\t"                                             \
    "cmp r10, #0xBF000000\n\t"                                                 \
    "bhs 3f\n\t"                                                               \
    "add r10, r12, #0x5F800000\n\t"                                            \
    "cmp r10, #0xBF000000\n\t"                                                 \
    "bhs 3f\n\t"                                                               \
    "mov lr, r5\n\t"                                                           \
    "bfi lr, r12, #16, #16\n\t"                                                \
    "lsrs r5, r5, #16\n\t"                                                     \
    "bfi r12, r5, #0, #16\n\t"

#define SGD_HI "r12"
#define SGD_ZERO "r11"
#endif

#define SGD_LEFT(left)                                                         \
    "lsl r4, " left "\n\t"                                                     \
    "lsl lr, " left "\n\t"
#define SGD_CLIP SGD_LEFT("r6") SGD_TIMES("r4", "r7") SGD_TIMES("lr", "r7")

#define SGD_TWO(clip)                                                          \
    "ldr lr, [r2]\n\t"                                                         \
    "ldr r12, [r1]\n\t"                                                        \
    "eor lr, #0x80008000\n\t" SGD_MASTERS                                      \
    "ldrd r4, lr, [r3]\n\t" clip SGD_LEFT("r8") SGD_STEP("r5", "r4", "r9")     \
        SGD_STEP("r12", "lr", "r9") SGD_WORDS "eor lr, #0x80008000\n\t"        \
                                              "str " SGD_HI ", [r1], #4\n\t"   \
                                              "str lr, [r2], #4\n\t"           \
                                              "strd " SGD_ZERO ", " SGD_ZERO   \
                                              ", [r3], #8\n\t"                 \
                                              "cmp r3, r0\n\t"

/* An even number of weights, not 0, hi and lo at a word. */
static VG_NAKED int32_t *sgd_thumb2_pairs(VG_UNUSED(const vg_sgd *, s),
                                          VG_UNUSED(vg_sig *, hi),
                                          VG_UNUSED(int16_t *, lo),
                                          VG_UNUSED(int32_t *, g),
                                          VG_UNUSED(const int32_t *, end))
{
    __asm__ volatile(
        "push {r4-r11, lr}\n\t" SGD_CONSTANTS "ldrd r6, r7, [r0]\n\t"
        "ldrd r8, r9, [r0, #12]\n\t"
        "ldr r0, [sp, #36]\n\t"
        "cmp r7, #0\n\t"
        "beq.w 2f\n"
        "1:\n\t" SGD_TWO(SGD_CLIP) "bne.w 1b\n\t"
                                   "b 3f\n"
                                   "2:\n\t" SGD_TWO("") "bne.w 2b\n"
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
    if (!pairs || (uintptr_t)hi % 4)
        return g;
    return sgd_thumb2_pairs(s, hi, lo, g, g + 2 * pairs);
}

#undef SGD_TWO
#undef SGD_CLIP
#undef SGD_LEFT
#undef SGD_ZERO
#undef SGD_HI
#undef SGD_WORDS
#undef SGD_MASTERS
#undef SGD_CONSTANTS
#undef SGD_STEP
#undef SGD_TIMES

#endif
