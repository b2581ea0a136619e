/* dot_m0.h - what the kernels of cores with a product of 32 bits alone have in
 * common: Cortex-M0, M0+, M23.  Naked functions, for the inner loops need all
 * registers.
 */
#ifndef VG_DOT_M0_H
#define VG_DOT_M0_H

#include "dot_c.h"
#include "m0_frame.h"

/* On the stack: what was pushed, then the arguments from the fifth on. */
#define DOT_M0_Z "[sp]"
#define DOT_M0_B "[sp, #4]" /* or sum, the fourth argument */
#define DOT_M0_A "[sp, #44]"
#define DOT_M0_A_END "[sp, #48]"
#define DOT_M0_B_STEP "[sp, #52]"
#define DOT_M0_SHIFT "[sp, #56]" /* 16 bits */
#define DOT_M0_EXPS "[sp, #56]"  /* 8 bits */
#define DOT_M0_ARG_EXP "[sp, #60]"

/* clang-format off */

#define DOT_M0_BEGIN                                                           \
    M0_ENTER                                                                   \
    "push {r1, r3}\n\t"                                                        \
    "mov r12, r2\n"                                                            \
    "1:\n\t"                                                                   \
    "ldr r1, " DOT_M0_Z "\n\t"
#define DOT_M0_END                                                             \
    "add sp, #8\n\t"                                                           \
    M0_LEAVE

/* sat16 of a sum. */
#define DOT_M0_SAT16(sum, spare)                                               \
    "sxth " spare ", " sum "\n\t"                                               \
    "cmp " spare ", " sum "\n\t"                                                \
    "beq 8f\n\t"                                                               \
    "asrs " sum ", " sum ", #31\n\t"                                           \
    "movs " spare ", #1\n\t"                                                    \
    "lsls " spare ", #15\n\t"                                                   \
    "subs " spare ", #1\n\t"                                                    \
    "eors " sum ", " spare "\n"                                                 \
    "8:\n\t"

/* sat16 of the 64 bits in sum and high, rounded by shift: what LSRS shifts out
 * last is carried.  rest: 32 - shift. */
#define DOT_M0_ROUND(sum, high, shift, rest)                                   \
    "lsls " high ", " rest "\n\t"                                              \
    "lsrs " sum ", " shift "\n\t"                                              \
    "adcs " sum ", " high "\n\t" DOT_M0_SAT16(sum, high)

/* ---- 16 bits: two columns of a row sum up to less than 2^31, for |w| < 2^15,
 * and such a sum s is added to two others: low is the sum of s modulo 2^32,
 * high that of s >> 16, from which all 64 bits follow. */

/* r2, r3: the sum of a row, 64 bits.  low - 2^16 high is what the shifts left
 * out, below 2^32 for up to 2^16 pairs of columns. */
#define DOT_M0_SUM16(low, high)                                                \
    "mov r2, " low "\n\t"                                                      \
    "mov r4, " high "\n\t"                                                     \
    "asrs r3, r4, #16\n\t"                                                     \
    "lsls r4, r4, #16\n\t"                                                     \
    "subs r5, r2, r4\n\t"                                                      \
    "adds r4, r4, r5\n\t"                                                      \
    "movs r5, #0\n\t"                                                          \
    "adcs r3, r5\n\t"

/* A row with its bias, rounded by r7. */
#define DOT_M0_ROW16(low, high, b)                                             \
    DOT_M0_SUM16(low, high)                                                    \
    "asrs r5, " b ", #31\n\t"                                                  \
    "adds r2, r2, " b "\n\t"                                                   \
    "adcs r3, r5\n\t"                                                          \
    "movs r4, #32\n\t"                                                         \
    "subs r4, r7\n\t" DOT_M0_ROUND("r2", "r3", "r7", "r4")

/* Two rows, in r8 to r11, to their results, and on with those from r0 on. */
#define DOT_M0_RESULTS16                                                       \
    "ldr r1, " DOT_M0_B "\n\t"                                                 \
    "ldr r2, " DOT_M0_B_STEP "\n\t"                                            \
    "adds r2, r1\n\t"                                                          \
    "str r2, " DOT_M0_B "\n\t"                                                 \
    "ldr r6, [r1]\n\t"                                                         \
    "ldr r1, [r1, #4]\n\t"                                                     \
    "ldr r7, " DOT_M0_SHIFT "\n\t"                                             \
    DOT_M0_ROW16("r8", "r9", "r6")                                             \
    "ldr r6, " DOT_M0_A "\n\t"                                                 \
    "strh r2, [r6]\n\t"                                                        \
    DOT_M0_ROW16("r10", "r11", "r1")                                           \
    "strh r2, [r6, #2]\n\t"                                                    \
    "adds r6, #4\n\t"                                                          \
    "str r6, " DOT_M0_A "\n\t"                                                 \
    "ldr r5, " DOT_M0_A_END "\n\t"                                             \
    "cmp r6, r5\n\t"                                                           \
    "beq 5f\n\t"                                                               \
    "b 1b\n"                                                                   \
    "5:\n\t" DOT_M0_END

/* ---- 8 bits: sums of 32 bits. */

/* Row k, whose sum is there: bias at r1, exponent at r0, arg_exp in r7, a in
 * r9 and then in r6.  What leaves 32 bits with its bias has the other sign; it
 * is halved, and rounded by one bit less.  What ASRS shifts out last is carried.
 */
#define DOT_M0_ROW8(sum, k, k2)                                                \
    "ldmia r1!, {r6}\n\t"                                                      \
    "adds " sum ", r6\n\t"                                                     \
    "bvc 6f\n\t"                                                               \
    "asrs " sum ", " sum ", #1\n\t"                                            \
    "movs r6, #1\n\t"                                                          \
    "lsls r6, #31\n\t"                                                         \
    "eors " sum ", r6\n\t"                                                     \
    "ldrb r6, [r0, #" k "]\n\t"                                                \
    "subs r6, r7\n\t"                                                          \
    "subs r6, #1\n\t"                                                          \
    "b 7f\n"                                                                   \
    "6:\n\t"                                                                   \
    "ldrb r6, [r0, #" k "]\n\t"                                                \
    "subs r6, r7\n"                                                            \
    "7:\n\t"                                                                   \
    "asrs " sum ", r6\n\t"                                                     \
    "movs r6, #0\n\t"                                                          \
    "adcs " sum ", r6\n\t" DOT_M0_SAT16(sum, "r6")                             \
    "mov r6, r9\n\t"                                                           \
    "strh " sum ", [r6, #" k2 "]\n\t"

/* So many rows, n and 2 n in words, each with DOT_M0_ROW8, to their results,
 * and on with those from r0 on. */
#define DOT_M0_RESULTS8(n, n2, rows)                                           \
    "mov r8, r0\n\t"                                                           \
    "ldr r0, " DOT_M0_EXPS "\n\t"                                              \
    "ldr r1, " DOT_M0_B "\n\t"                                                 \
    "ldr r6, " DOT_M0_A "\n\t"                                                 \
    "mov r9, r6\n\t"                                                           \
    "ldr r7, " DOT_M0_ARG_EXP "\n\t"                                           \
    rows                                                                       \
    "adds r0, #" n "\n\t"                                                      \
    "str r0, " DOT_M0_EXPS "\n\t"                                              \
    "ldr r1, " DOT_M0_B "\n\t"                                                 \
    "ldr r7, " DOT_M0_B_STEP "\n\t"                                            \
    "adds r1, r7\n\t"                                                          \
    "str r1, " DOT_M0_B "\n\t"                                                 \
    "adds r6, #" n2 "\n\t"                                                     \
    "str r6, " DOT_M0_A "\n\t"                                                 \
    "mov r0, r8\n\t"                                                           \
    "ldr r7, " DOT_M0_A_END "\n\t"                                             \
    "cmp r6, r7\n\t"                                                           \
    "beq 5f\n\t"                                                               \
    "b 1b\n"                                                                   \
    "5:\n\t" DOT_M0_END

/* clang-format on */

static const int32_t dot_m0_none[4] = {0, 0, 0, 0};

#endif
