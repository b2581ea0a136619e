/* dot_m0.h - what the kernels of cores with a product of 32 bits alone have in
 * common: Cortex-M0, M0+, M23.  Naked functions, for the inner loops need all
 * registers.
 */
#ifndef VG_DOT_M0_H
#define VG_DOT_M0_H

#include "dot_c.h"

/* On the stack: what was pushed, then the arguments from the fifth on. */
#define DOT_M0_Z "[sp]"
#define DOT_M0_B "[sp, #4]" /* or sum, the fourth argument */
#define DOT_M0_A "[sp, #44]"
#define DOT_M0_A_END "[sp, #48]"
#define DOT_M0_B_STEP "[sp, #52]"

#define DOT_M0_BEGIN                                                           \
    ".syntax unified\n\t"                                                      \
    "push {r4-r7, lr}\n\t"                                                     \
    "mov r4, r8\n\t"                                                           \
    "mov r5, r9\n\t"                                                           \
    "mov r6, r10\n\t"                                                          \
    "mov r7, r11\n\t"                                                          \
    "push {r4-r7}\n\t"                                                         \
    "push {r1, r3}\n\t"                                                        \
    "mov r12, r2\n"                                                            \
    "1:\n\t"                                                                   \
    "ldr r1, " DOT_M0_Z "\n\t"
#define DOT_M0_END                                                             \
    "add sp, #8\n\t"                                                           \
    "pop {r4-r7}\n\t"                                                          \
    "mov r8, r4\n\t"                                                           \
    "mov r9, r5\n\t"                                                           \
    "mov r10, r6\n\t"                                                          \
    "mov r11, r7\n\t"                                                          \
    "pop {r4-r7, pc}"

/* sat16 of the 64 bits in sum and high, rounded by shift: what LSRS shifts out
 * last is carried.  rest: 32 - shift. */
#define DOT_M0_ROUND(sum, high, shift, rest)                                   \
    "lsls " high ", " rest "\n\t"                                              \
    "lsrs " sum ", " shift "\n\t"                                              \
    "adcs " sum ", " high "\n\t"                                               \
    "sxth " high ", " sum "\n\t"                                               \
    "cmp " high ", " sum "\n\t"                                                \
    "beq 8f\n\t"                                                               \
    "asrs " sum ", " sum ", #31\n\t"                                           \
    "movs " high ", #1\n\t"                                                    \
    "lsls " high ", #15\n\t"                                                   \
    "subs " high ", #1\n\t"                                                    \
    "eors " sum ", " high "\n"                                                 \
    "8:\n\t"

#define DOT_M0_IS(type, name) type name __attribute__((unused))

static const int32_t dot_m0_none[4] = {0, 0, 0, 0};

#endif
