/* dot_m0_words16.h - maps in words on cores with a product of 32 bits alone.
 *
 *     r0 w   r1 z   r2-r7 data   r8, r9 low and high of the first row, r10, r11
 *     of the second   r12 the end of z
 */
#ifndef VG_DOT_M0_WORDS16_H
#define VG_DOT_M0_WORDS16_H

#include "dot_m0.h"

/* Two columns: z0, z1, 2^15 (z0 + z1).  r6 and r2 get the rows' sums, r2 less
 * what it has of the second row and of the flipped bits. */
#define DOT_M0_TWO16                                                           \
    "ldmia r0!, {r2, r3}\n\t"                                                  \
    "ldmia r1!, {r4, r5, r7}\n\t"                                              \
    "asrs r6, r2, #16\n\t"                                                     \
    "muls r6, r4\n\t"                                                          \
    "muls r2, r4\n\t"                                                          \
    "asrs r4, r3, #16\n\t"                                                     \
    "muls r4, r5\n\t"                                                          \
    "adds r6, r4\n\t"                                                          \
    "muls r3, r5\n\t"                                                          \
    "adds r2, r3\n\t"                                                          \
    "subs r2, r7\n\t"                                                          \
    "lsls r4, r6, #16\n\t"                                                     \
    "subs r2, r4\n\t"                                                          \
    "add r10, r6\n\t"                                                          \
    "asrs r6, r6, #16\n\t"                                                     \
    "add r11, r6\n\t"                                                          \
    "add r8, r2\n\t"                                                           \
    "asrs r2, r2, #16\n\t"                                                     \
    "add r9, r2\n\t"

#define DOT_M0_LOOP16                                                          \
    "movs r4, #0\n\t"                                                          \
    "mov r8, r4\n\t"                                                           \
    "mov r9, r4\n\t"                                                           \
    "mov r10, r4\n\t"                                                          \
    "mov r11, r4\n"                                                            \
    "2:\n\t" DOT_M0_TWO16 DOT_M0_TWO16 "cmp r1, r12\n\t"                       \
    "bne 2b\n\t"

#define DOT_M0_ADD16                                                           \
    "ldr r6, [r1]\n\t"                                                         \
    "ldr r7, [r1, #4]\n\t"                                                     \
    "adds r2, r6\n\t"                                                          \
    "adcs r3, r7\n\t"                                                          \
    "stmia r1!, {r2, r3}\n\t"

/* sum[2] += what a group gives with z. */
static VG_NAKED void dot_m0_group16(VG_UNUSED(const uint32_t *, w),
                                    VG_UNUSED(const int32_t *, z),
                                    VG_UNUSED(const int32_t *, z_end),
                                    VG_UNUSED(int64_t *, sum))
{
    __asm__ volatile(DOT_M0_BEGIN DOT_M0_LOOP16 "ldr r1, [sp, #4]\n\t" /**/
                     DOT_M0_SUM16("r8", "r9") DOT_M0_ADD16             /**/
                         DOT_M0_SUM16("r10", "r11") DOT_M0_ADD16 DOT_M0_END);
}

/* The results of groups from w on, up to a_end. */
static VG_NAKED void
dot_m0_groups16(VG_UNUSED(const uint32_t *, w), VG_UNUSED(const int32_t *, z),
                VG_UNUSED(const int32_t *, z_end),
                VG_UNUSED(const int32_t *, b), VG_UNUSED(int16_t *, a),
                VG_UNUSED(const int16_t *, a_end), VG_UNUSED(uint32_t, b_step),
                VG_UNUSED(int32_t, shift))
{
    __asm__ volatile(DOT_M0_BEGIN DOT_M0_LOOP16 DOT_M0_RESULTS16);
}

static inline void dot_m0_words16(const uint32_t *w, const int32_t *z,
                                  uint32_t n, int64_t *sum)
{
    dot_m0_group16(w, z, z + n / 2 * 3, sum);
}

/* |W z + b| <= (n + 2) 2^30, which must leave 32 bits when it is rounded. */
static inline uint32_t dot_m0_words_map16(const dot_map *m, int16_t *a)
{
    const int shift = m->exps[0] - m->arg_exp;
    const uint32_t rows = m->rows & ~1u;
    const int32_t *z = m->z;

    if ((m->stride + 2) >> shift > 1 || !rows)
        return 0;
    dot_m0_groups16(m->w, z, z + m->stride / 2 * 3, m->b ? m->b : dot_m0_none,
                    a, a + rows, m->b ? 8 : 0, shift);
    return rows;
}

#endif
