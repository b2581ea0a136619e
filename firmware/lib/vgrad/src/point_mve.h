/* point_mve.h - point_c.h for the vectors of Armv8.1-M, four numbers at once:
 * gathers fetch the rows of the tables.
 */
#ifndef VG_POINT_MVE_H
#define VG_POINT_MVE_H

#include <arm_mve.h>

#include "point_parts.h"

/* lut_cubic of four z.  A row is three words. */
static inline int32x4_t point_mve_cubic(const struct lut_seg *zero, int32x4_t z,
                                        int bits)
{
    const int32_t *table = (const int32_t *)(const void *)zero;
    const int32x4_t row = vrshlq_n_s32(z, -bits);
    const int32x4_t d = vsubq_s32(z, vshlq_r_s32(row, bits));
    const uint32x4_t word = vreinterpretq_u32_s32(vmulq_n_s32(row, 3));
    const int32x4_t c0 = vldrwq_gather_shifted_offset_s32(table, word);
    const int32x4_t c1 = vldrwq_gather_shifted_offset_s32(table + 1, word);
    const int32x4_t c23 = vldrwq_gather_shifted_offset_s32(table + 2, word);
    const int32x4_t c3 = vmovlbq_s16(vreinterpretq_s16_s32(c23));
    const int32x4_t u = vshrq_n_s32(vaddq_s32(c23, vmulq_s32(c3, d)), 16);
    const int32x4_t t =
        vaddq_s32(c1, vshlq_r_s32(vmulq_s32(u, d), -(bits - 2)));

    return vshrq_n_s32(vaddq_s32(c0, vmulq_s32(t, d)), 16);
}

static inline void point_mve_sigmoids(const int16_t *a, uint32_t n, int16_t *y)
{
    for (uint32_t fours = n / 4; fours; fours--, a += 4, y += 4)
        vstrhq_s32(
            y, point_mve_cubic(LUT_SIGMOID, vldrhq_s32(a), LUT_SIGMOID_BITS));
    point_c_sigmoids(a, n & 3, y);
}

static inline void point_mve_tanhs(const int16_t *a, uint32_t n, int16_t *y)
{
    for (uint32_t fours = n / 4; fours; fours--, a += 4, y += 4)
        vstrhq_s32(y, point_mve_cubic(LUT_TANH, vldrhq_s32(a), LUT_TANH_BITS));
    point_c_tanhs(a, n & 3, y);
}

/* As point_avx2.h does it, within 32 bits. */
static inline uint32_t point_mve_carry(const int16_t *f, const int16_t *i,
                                       const int16_t *g, uint32_t n, int32_t *c)
{
    const int32x4_t top = vdupq_n_s32(1 << 30),
                    bottom = vdupq_n_s32(-(1 << 30));
    int32_t clamped = 0;

    for (uint32_t fours = n / 4; fours; fours--, f += 4, g += 4, c += 4) {
        const int32x4_t old = vldrwq_s32(c), keep = vldrhq_s32(f);
        const int32x4_t in =
            i ? vldrhq_s32(i) : vsubq_s32(vdupq_n_s32(LUT_ONE), keep);
        const int32x4_t p = vmulq_s32(in, vldrhq_s32(g));
        const int32x4_t high = vshrq_n_s32(old, 14), whole = vshrq_n_s32(p, 8);
        const int32x4_t low = vsubq_s32(old, vshlq_n_s32(high, 14));
        const int32x4_t part = vsubq_s32(p, vshlq_n_s32(whole, 8));
        const int32x4_t carried = vrshrq_n_s32(
            vaddq_s32(vmulq_s32(keep, low), vshlq_n_s32(part, 6)), 14);
        const int32x4_t sum =
            vaddq_s32(vaddq_s32(vmulq_s32(keep, high), whole), carried);
        const int32x4_t x = vminq_s32(vmaxq_s32(sum, bottom), top);
        clamped = vaddvaq_p_s32(clamped, vdupq_n_s32(1), vcmpneq_s32(x, sum));
        vstrwq_s32(c, x);
        i = i ? i + 4 : i;
    }
    return (uint32_t)clamped + point_c_carry(f, i, g, n & 3, c);
}

static inline void point_mve_squash(const int16_t *o, const int32_t *c,
                                    uint32_t n, int16_t *h)
{
    for (uint32_t fours = n / 4; fours; fours--, o += 4, c += 4, h += 4) {
        const int32x4_t x = vrshrq_n_s32(vldrwq_s32(c), 8);
        const int32x4_t z =
            vminq_s32(vmaxq_s32(x, vdupq_n_s32(-32768)), vdupq_n_s32(32767));
        const int32x4_t t = point_mve_cubic(LUT_TANH, z, LUT_TANH_BITS);
        vstrhq_s32(h, vrshrq_n_s32(vmulq_s32(vldrhq_s32(o), t), 14));
    }
    point_c_squash(o, c, n & 3, h);
}

#endif
