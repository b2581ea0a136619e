/* dot_mve.h - cores with the vectors of Armv8.1-M (Cortex-M55, M85): VMLALDAVA
 * adds eight products onto 64 bits.
 *
 * Four rows are in assembly, for compilers spill their sums and do not make a
 * loop by DLSTP and LETP, which leaves out what is behind the last column.
 */
#ifndef VG_DOT_MVE_H
#define VG_DOT_MVE_H

#include <arm_mve.h>

#include "dot_fours.h"

/* sum[2] += what two rows give.  What is left of eight columns comes first. */
#define DOT_MVE_TWO(load, load_some)                                           \
    const mve_pred16_t some = vctp16q(n & 7);                                  \
    int16x8_t v = vldrhq_z_s16(z, some);                                       \
    int64_t s0 = vmlaldavaq_s16(sum[0], v, load_some(w0, some));               \
    int64_t s1 = vmlaldavaq_s16(sum[1], v, load_some(w1, some));               \
    w0 += n & 7, w1 += n & 7, z += n & 7;                                      \
    for (n /= 8; n; n--, w0 += 8, w1 += 8, z += 8) {                           \
        v = vldrhq_s16(z);                                                     \
        s0 = vmlaldavaq_s16(s0, v, load(w0));                                  \
        s1 = vmlaldavaq_s16(s1, v, load(w1));                                  \
    }                                                                          \
    sum[0] = s0;                                                               \
    sum[1] = s1;

static inline void dot_mve_w16(const int16_t *w0, const int16_t *w1,
                               const int16_t *z, uint32_t n, int64_t *sum)
{
    DOT_MVE_TWO(vldrhq_s16, vldrhq_z_s16)
}

static inline void dot_mve_w8(const int8_t *w0, const int8_t *w1,
                              const int16_t *z, uint32_t n, int64_t *sum){
    DOT_MVE_TWO(vldrbq_s16, vldrbq_z_s16)}

/* Eight columns of a row onto the sum in low and high. */
#define DOT_MVE_16(row, low, high)                                             \
    "vldrh.s16 q1, [" row "], #16\n\t"                                         \
    "vmlaldava.s16 " low ", " high ", q0, q1\n\t"
#define DOT_MVE_8(row, low, high)                                              \
    "vldrb.s16 q1, [" row "], #8\n\t"                                          \
    "vmlaldava.s16 " low ", " high ", q0, q1\n\t"

/* sum[4] += W z, the four rows of n columns one after another: r0 z, r1-r4 the
 * rows; a load that widens takes no higher register. */
#define DOT_MVE_SUMS(row_bytes, eight)                                         \
    __asm__ volatile(                                                          \
        "push {r3-r11, lr}\n\t"                                                \
        "ldrd r12, r5, [r3]\n\t"                                               \
        "ldrd r6, r7, [r3, #8]\n\t"                                            \
        "ldrd r8, r9, [r3, #16]\n\t"                                           \
        "ldrd r10, r11, [r3, #24]\n\t"                                         \
        "dlstp.16 lr, r2\n\t" row_bytes "add r2, r1, r4\n\t"                   \
        "add r3, r2, r4\n\t"                                                   \
        "add r4, r3\n"                                                         \
        "1:\n\t"                                                               \
        "vldrh.s16 q0, [r0], #16\n\t" /**/                                     \
        eight("r1", "r12", "r5") eight("r2", "r6", "r7")                       \
            eight("r3", "r8", "r9")                                            \
                eight("r4", "r10", "r11") "letp lr, 1b\n\t"                    \
                                          "pop {r3}\n\t"                       \
                                          "strd r12, r5, [r3]\n\t"             \
                                          "strd r6, r7, [r3, #8]\n\t"          \
                                          "strd r8, r9, [r3, #16]\n\t"         \
                                          "strd r10, r11, [r3, #24]\n\t"       \
                                          "pop {r4-r11, pc}");

static VG_NAKED
    void dot_mve_sums16(VG_UNUSED(const int16_t *, z),
                        VG_UNUSED(const void *, w), VG_UNUSED(uint32_t, n),
                        VG_UNUSED(int64_t *, sum))
{
    DOT_MVE_SUMS("lsl r4, r2, #1\n\t", DOT_MVE_16)
}

static VG_NAKED void dot_mve_sums8(VG_UNUSED(const int16_t *, z),
                                   VG_UNUSED(const void *, w),
                                   VG_UNUSED(uint32_t, n),
                                   VG_UNUSED(int64_t *, sum))
{
    DOT_MVE_SUMS("mov r4, r2\n\t", DOT_MVE_8)
}

/* sat16(rs(sum, n)): saturated when its low 16 bits are on top. */
static inline int16_t dot_mve_round(int64_t sum, int32_t n)
{
    return (int16_t)(sqshll(sqshll(sqrshrl(sum, n), 32), 16) >> 48);
}

#define DOT_MVE_FOUR(each, sums)                                               \
    static const int32_t none[4] = {0, 0, 0, 0};                               \
    const int32_t *b = m->b ? m->b : none;                                     \
    const uint8_t *e = m->exps;                                                \
    int64_t sum[4] = {b[0], b[1], b[2], b[3]};                                 \
    sums(m->z, m->w, m->stride, sum);                                          \
    a[0] = dot_mve_round(sum[0], e[0] - m->arg_exp);                           \
    a[1] = dot_mve_round(sum[1], e[each] - m->arg_exp);                        \
    a[2] = dot_mve_round(sum[2], e[2 * each] - m->arg_exp);                    \
    a[3] = dot_mve_round(sum[3], e[3 * each] - m->arg_exp);

static inline void dot_mve_four16(const dot_map *m, int16_t *a)
{
    DOT_MVE_FOUR(0, dot_mve_sums16)
}

static inline void dot_mve_four8(const dot_map *m, int16_t *a)
{
    DOT_MVE_FOUR(1, dot_mve_sums8)
}

static inline void dot_mve_map16(const dot_map *m, int16_t *a)
{
    DOT_FOURS(int16_t, 0, dot_mve_four16, dot_mve_w16)
}

static inline void dot_mve_map8(const dot_map *m, int16_t *a)
{
    DOT_FOURS(int8_t, 1, dot_mve_four8, dot_mve_w8)
}

#undef DOT_MVE_TWO
#undef DOT_MVE_16
#undef DOT_MVE_8
#undef DOT_MVE_SUMS
#undef DOT_MVE_FOUR

#endif
