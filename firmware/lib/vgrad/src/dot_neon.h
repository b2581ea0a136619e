/* dot_neon.h - AArch64: SMULL multiplies 16 by 16 bits, SADALP adds pairs of
 * the products onto 64.
 */
#ifndef VG_DOT_NEON_H
#define VG_DOT_NEON_H

#include <arm_neon.h>

#include "dot_c.h"

/* Eight columns onto two sums of 64 bits.  A product of two -32768 is 2^30: two
 * of them would not fit into 32 bits. */
static inline int64x2_t dot_neon_add16(int64x2_t sum, int16x8_t w, int16x8_t z)
{
    sum = vpadalq_s32(sum, vmull_s16(vget_low_s16(w), vget_low_s16(z)));
    return vpadalq_s32(sum, vmull_high_s16(w, z));
}

/* Of 8-bit weights, whose products are at most 2^22. */
static inline int64x2_t dot_neon_add8(int64x2_t sum, int8x8_t w, int16x8_t z)
{
    const int16x8_t v = vmovl_s8(w);
    const int32x4_t low = vmull_s16(vget_low_s16(v), vget_low_s16(z));

    return vpadalq_s32(sum, vmlal_high_s16(low, v, z));
}

#define DOT_NEON_TWO(bits, load)                                               \
    int64x2_t s0 = vdupq_n_s64(0), s1 = s0;                                    \
    for (; n >= 8; n -= 8, w0 += 8, w1 += 8, z += 8) {                         \
        const int16x8_t v = vld1q_s16(z);                                      \
        s0 = dot_neon_add##bits(s0, load(w0), v);                              \
        s1 = dot_neon_add##bits(s1, load(w1), v);                              \
    }                                                                          \
    sum[0] += vaddvq_s64(s0);                                                  \
    sum[1] += vaddvq_s64(s1);                                                  \
    dot_c_w##bits(w0, w1, z, n, sum);

static inline void dot_neon_w16(const int16_t *w0, const int16_t *w1,
                                const int16_t *z, uint32_t n, int64_t *sum)
{
    DOT_NEON_TWO(16, vld1q_s16)
}

static inline void dot_neon_w8(const int8_t *w0, const int8_t *w1,
                               const int16_t *z, uint32_t n, int64_t *sum)
{
    DOT_NEON_TWO(8, vld1_s8)
}

static inline void dot_neon_map16(const dot_map *m, int16_t *a)
{
    DOT_C_MAP(int16_t, 0, dot_neon_w16)
}

static inline void dot_neon_map8(const dot_map *m, int16_t *a)
{
    DOT_C_MAP(int8_t, 1, dot_neon_w8)
}

#undef DOT_NEON_TWO

#endif
