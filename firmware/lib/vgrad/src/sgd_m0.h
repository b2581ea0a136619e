/* sgd_m0.h - Cortex-M0: products by halves of 16 bits, as fx_product has them.
 *
 *     r0 sgd_m0_numbers   r1 hi   r2 lo   r3 g   r4 a gradient, a step, a sum
 *     r5-r7 data   r8 -SGD_FULL / 2^16   r9 SGD_FULL + 2^15   r10 2 SGD_FULL
 *     r11 the end of g
 */
#ifndef VG_SGD_M0_H
#define VG_SGD_M0_H

#include "m0_frame.h"
#include "sgd_c.h"

/* A scaling, `by` in halves. */
typedef struct {
    int32_t left, low, high;
} sgd_m0_scaling;

typedef struct {
    sgd_m0_scaling rate, clip;
} sgd_m0_numbers;

/* What ASRS shifts out last is carried: it rounds. */
#define SGD_M0_SCALE(left, low, high)                                          \
    "ldr r5, [r0, #" left "]\n\t"                                              \
    "lsls r4, r5\n\t"                                                          \
    "asrs r5, r4, #16\n\t"                                                     \
    "uxth r4, r4\n\t"                                                          \
    "ldr r6, [r0, #" low "]\n\t"                                               \
    "movs r7, r6\n\t"                                                          \
    "muls r7, r4\n\t"                                                          \
    "muls r6, r5\n\t"                                                          \
    "lsrs r7, r7, #16\n\t"                                                     \
    "adds r6, r7\n\t"                                                          \
    "ldr r7, [r0, #" high "]\n\t"                                              \
    "muls r4, r7\n\t"                                                          \
    "muls r7, r5\n\t"                                                          \
    "asrs r5, r6, #16\n\t"                                                     \
    "adds r7, r5\n\t"                                                          \
    "uxth r6, r6\n\t"                                                          \
    "adds r4, r6\n\t"                                                          \
    "asrs r4, r4, #16\n\t"                                                     \
    "adcs r4, r7\n\t"

#define SGD_M0_MOVE                                                            \
    "ldrh r5, [r1]\n\t"                                                        \
    "lsls r5, #16\n\t"                                                         \
    "adds r4, r5\n\t"                                                          \
    "movs r6, #0\n\t"                                                          \
    "ldrsh r5, [r2, r6]\n\t"                                                   \
    "adds r4, r5\n\t"                                                          \
    "mov r7, r9\n\t"                                                           \
    "adds r7, r4\n\t"                                                          \
    "cmp r7, r10\n\t"                                                          \
    "bhs 3f\n\t"                                                               \
    "strh r4, [r2]\n\t"                                                        \
    "adds r2, #2\n\t"                                                          \
    "lsrs r7, #16\n\t"                                                         \
    "add r7, r8\n\t"                                                           \
    "strh r7, [r1]\n\t"                                                        \
    "adds r1, #2\n\t"                                                          \
    "stmia r3!, {r6}\n\t"                                                      \
    "cmp r3, r11\n\t"

#define SGD_M0_ONE(clip)                                                       \
    "ldr r4, [r3]\n\t" clip SGD_M0_SCALE("0", "4", "8") SGD_M0_MOVE

/* At least one weight. */
static VG_NAKED int32_t *sgd_m0_some(VG_UNUSED(const sgd_m0_numbers *, s),
                                     VG_UNUSED(vg_sig *, hi),
                                     VG_UNUSED(int16_t *, lo),
                                     VG_UNUSED(int32_t *, g),
                                     VG_UNUSED(const int32_t *, end))
{
    __asm__ volatile(M0_ENTER
                     "ldr r4, [sp, #36]\n\t"
                     "mov r11, r4\n\t"
                     "movs r4, #0xBF\n\t"
                     "lsls r4, #24\n\t"
                     "mov r10, r4\n\t"
                     "lsrs r4, #1\n\t"
                     "movs r5, #1\n\t"
                     "lsls r5, #15\n\t"
                     "adds r5, r4\n\t"
                     "mov r9, r5\n\t"
                     "lsrs r4, #16\n\t"
                     "negs r4, r4\n\t"
                     "mov r8, r4\n\t"
                     "ldr r4, [r0, #20]\n\t"
                     "cmp r4, #0\n\t"
                     "beq 2f\n"
                     "1:\n\t" SGD_M0_ONE(SGD_M0_SCALE(
                         "12", "16", "20")) "bne 1b\n\t"
                                            "b 3f\n"
                                            "2:\n\t" SGD_M0_ONE(
                                                "") "bne 2b\n"
                                                    "3:\n\t"
                                                    "mov r0, r3\n\t" M0_LEAVE);
}

static inline sgd_m0_scaling sgd_m0_halves(const vg_scaling *s)
{
    const sgd_m0_scaling halves = {s->left, s->by & 0xFFFF,
                                   fx_floor32(s->by, 16)};

    return halves;
}

static inline int32_t *sgd_m0(const vg_sgd *s, vg_sig *hi, int16_t *lo,
                              int32_t *g, const int32_t *end)
{
    sgd_m0_numbers numbers;

    if (s->clip.right || g == end)
        return sgd_c(s, hi, lo, g, end);
    numbers.rate = sgd_m0_halves(&s->rate);
    numbers.clip = sgd_m0_halves(&s->clip);
    return sgd_m0_some(&numbers, hi, lo, g, end);
}

#undef SGD_M0_ONE
#undef SGD_M0_MOVE
#undef SGD_M0_SCALE

#endif
