/* dot_mul_map.h - whole maps on Thumb-2 without the DSP extension, in the frame
 * of dot_thumb2_rows.h; a column of two rows is one load and two SMLAL.
 */
#ifndef VG_DOT_MUL_MAP_H
#define VG_DOT_MUL_MAP_H

#include "dot_mul.h"
#include "dot_thumb2_rows.h"

/* clang-format off */

/* A column, five instructions of four bytes; load is LDRSH or LDRSB. */
#define DOT_MUL_ONE(load, size)                                                \
    "ldrsh r2, [r0], #2\n\t"                                                   \
    load " r3, [r12], #" size "\n\t"                                           \
    "smlal r8, r9, r3, r2\n\t"                                                 \
    load " r3, [lr], #" size "\n\t"                                            \
    "smlal r10, r11, r3, r2\n\t"
#define DOT_MUL_FOUR(load, size)                                               \
    DOT_MUL_ONE(load, size) DOT_MUL_ONE(load, size)                            \
    DOT_MUL_ONE(load, size) DOT_MUL_ONE(load, size)
#define DOT_MUL_TWO_ROWS(given, load, size)                                    \
    "and r2, r7, #7\n\t"                                                       \
    "movs r1, #20\n\t"                                                         \
    "adr.w r5, 5f + 1\n\t"                                                     \
    "mls r5, r1, r2, r5\n\t"                                                   \
    "str r5, [sp, #40]\n\t"                                                    \
    DOT_THUMB2_TWO_ROWS(given, "",                                             \
                        DOT_MUL_FOUR(load, size) DOT_MUL_FOUR(load, size),     \
                        "cmp r0, r1\n\t")

static VG_NAKED uint32_t
dot_mul_rows16(VG_UNUSED(const dot_gates *, g),
               VG_UNUSED(int16_t *, a))
{
    __asm__ volatile(DOT_THUMB2_ENTER("1")
                     DOT_MUL_TWO_ROWS(DOT_THUMB2_SHIFT16, "ldrsh", "2")
                     DOT_THUMB2_ROUND("r8", "r9", "r6", "r7")
                     DOT_THUMB2_ROUND("r10", "r11", "r6", "r7")
                     DOT_THUMB2_LEAVE(""));
}

static VG_NAKED void
dot_mul_rows8(VG_UNUSED(const dot_gates *, g),
              VG_UNUSED(int16_t *, a))
{
    __asm__ volatile(DOT_THUMB2_ENTER("0")
                     "str r4, [sp, #24]\n\t"
                     DOT_MUL_TWO_ROWS(DOT_THUMB2_EXP8, "ldrsb", "1")
                     DOT_THUMB2_ROUND8("r8", "r9")
                     DOT_THUMB2_ROUND8("r10", "r11")
                     "ldr r1, [sp, #4]\n\t"
                     DOT_THUMB2_LEAVE(DOT_THUMB2_BACK8));
}

#undef DOT_MUL_TWO_ROWS
#undef DOT_MUL_FOUR
#undef DOT_MUL_ONE

/* clang-format on */

static VG_APART void dot_mul_each16(dot_gates *g, int16_t *a)
{
    DOT_C_GATES(int16_t, 0, dot_mul_map16)
}

static VG_APART void dot_mul_each8(dot_gates *g, int16_t *a)
{
    DOT_C_GATES(int8_t, 1, dot_mul_map8)
}

static inline void dot_mul_gates16(dot_gates *g, int16_t *a)
{
    DOT_THUMB2_GATES16(dot_mul_rows16, dot_mul_each16, g, a);
}

static inline void dot_mul_gates8(dot_gates *g, int16_t *a)
{
    DOT_THUMB2_GATES8(dot_mul_rows8, dot_mul_each8, g, a);
}

#endif
