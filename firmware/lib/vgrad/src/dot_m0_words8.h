/* dot_m0_words8.h - maps in words of 8-bit weights on cores with a product of
 * 32 bits alone.
 *
 *     r0 w   r1 z   r2-r7 data   r8-r11 a sum of each row   r12 the end of z
 */
#ifndef VG_DOT_M0_WORDS8_H
#define VG_DOT_M0_WORDS8_H

#include "dot_m0_words16.h"

/* r8..r11 += (W >> 8 k) z. */
#define DOT_M0_WORD8(w, z)                                                     \
    "asrs r4, " w ", #24\n\t"                                                  \
    "muls r4, " z "\n\t"                                                       \
    "add r11, r4\n\t"                                                          \
    "asrs r4, " w ", #16\n\t"                                                  \
    "muls r4, " z "\n\t"                                                       \
    "add r10, r4\n\t"                                                          \
    "asrs r4, " w ", #8\n\t"                                                   \
    "muls r4, " z "\n\t"                                                       \
    "add r9, r4\n\t"                                                           \
    "muls " w ", " z "\n\t"                                                    \
    "add r8, " w "\n\t"
#define DOT_M0_TWO8                                                            \
    "ldmia r0!, {r2, r3}\n\t"                                                  \
    "ldmia r1!, {r5, r6}\n\t" DOT_M0_WORD8("r2", "r5")                         \
        DOT_M0_WORD8("r3", "r6")

/* r2..r5: the rows' sums.  What r8..r11 start from makes each a row's when 2^8
 * times the next one are taken away. */
#define DOT_M0_LOOP8                                                           \
    "subs r1, #4\n\t"                                                          \
    "ldmia r1!, {r4}\n\t"                                                      \
    "lsls r4, r4, #7\n\t"                                                      \
    "rsbs r4, r4, #0\n\t"                                                      \
    "mov r10, r4\n\t"                                                          \
    "lsls r5, r4, #8\n\t"                                                      \
    "adds r5, r4\n\t"                                                          \
    "mov r9, r5\n\t"                                                           \
    "lsls r5, r5, #8\n\t"                                                      \
    "adds r5, r4\n\t"                                                          \
    "mov r8, r5\n\t"                                                           \
    "movs r5, #0\n\t"                                                          \
    "mov r11, r5\n"                                                            \
    "2:\n\t" DOT_M0_TWO8 DOT_M0_TWO8 "cmp r1, r12\n\t"                         \
    "bne 2b\n\t"                                                               \
    "mov r2, r8\n\t"                                                           \
    "mov r3, r9\n\t"                                                           \
    "mov r4, r10\n\t"                                                          \
    "mov r5, r11\n\t"                                                          \
    "lsls r6, r3, #8\n\t"                                                      \
    "subs r2, r6\n\t"                                                          \
    "lsls r6, r4, #8\n\t"                                                      \
    "subs r3, r6\n\t"                                                          \
    "lsls r6, r5, #8\n\t"                                                      \
    "subs r4, r6\n\t"

#define DOT_M0_SUM8(sum)                                                       \
    "asrs r7, " sum ", #31\n\t"                                                \
    "ldr r6, [r1]\n\t"                                                         \
    "ldr r0, [r1, #4]\n\t"                                                     \
    "adds r6, " sum "\n\t"                                                     \
    "adcs r7, r0\n\t"                                                          \
    "stmia r1!, {r6, r7}\n\t"

/* sum[4] += what a group gives with z. */
static VG_NAKED void dot_m0_group8(VG_UNUSED(const uint32_t *, w),
                                   VG_UNUSED(const int32_t *, z),
                                   VG_UNUSED(const int32_t *, z_end),
                                   VG_UNUSED(int64_t *, sum))
{
    __asm__ volatile(DOT_M0_BEGIN DOT_M0_LOOP8 "ldr r1, [sp, #4]\n\t" /**/
                     DOT_M0_SUM8("r2") DOT_M0_SUM8("r3") DOT_M0_SUM8("r4")
                         DOT_M0_SUM8("r5") DOT_M0_END);
}

/* The results of groups from w on, up to a_end. */
static VG_NAKED void
dot_m0_groups8(VG_UNUSED(const uint32_t *, w), VG_UNUSED(const int32_t *, z),
               VG_UNUSED(const int32_t *, z_end), VG_UNUSED(const int32_t *, b),
               VG_UNUSED(int16_t *, a), VG_UNUSED(const int16_t *, a_end),
               VG_UNUSED(uint32_t, b_step), VG_UNUSED(const uint8_t *, exps),
               VG_UNUSED(int32_t, arg_exp))
{
    __asm__ volatile(DOT_M0_BEGIN DOT_M0_LOOP8 DOT_M0_RESULTS8(
        "4", "8",
        DOT_M0_ROW8("r2", "0", "0") DOT_M0_ROW8("r3", "1", "2")
            DOT_M0_ROW8("r4", "2", "4") DOT_M0_ROW8("r5", "3", "6")));
}

static inline void dot_m0_words8(const uint32_t *w, const int32_t *z,
                                 uint32_t n, int64_t *sum)
{
    dot_m0_group8(w, z, z + n, sum);
}

/* |W z + b| < 2^32, so that a shift of 1 leaves 32 bits. */
static inline uint32_t dot_m0_words_map8(const dot_map *m, int16_t *a)
{
    const uint32_t rows = m->rows & ~3u;
    const int32_t *z = m->z;

    if (rows)
        dot_m0_groups8(m->w, z, z + m->stride, m->b ? m->b : dot_m0_none, a,
                       a + rows, m->b ? 16 : 0, m->exps, m->arg_exp);
    return rows;
}

#endif
