/* point_avx2.h - point_c.h for x86 with AVX2, eight numbers at once: gathers
 * fetch the rows of the tables.
 *
 * PMADDWD multiplies 16 by 16 bits where the other halves give nothing: what
 * was widened from 16 bits has its sign there, and what is not negative zero.
 */
#ifndef VG_POINT_AVX2_H
#define VG_POINT_AVX2_H

#include "fx_avx2.h"
#include "point_parts.h"

static inline __m256i point_avx2_load(const int16_t *p)
{
    return _mm256_cvtepi16_epi32(
        _mm_loadu_si128((const __m128i *)(const void *)p));
}

/* lut_cubic of eight z.  A row is three words. */
static inline __m256i point_avx2_cubic(const struct lut_seg *zero, __m256i z,
                                       int bits)
{
    const int half = 1 << (bits - 1);
    const int *table = (const int *)(const void *)zero;
    const __m256i at = _mm256_add_epi32(z, _mm256_set1_epi32(half));
    const __m256i row = _mm256_srai_epi32(at, bits);
    const __m256i d = _mm256_sub_epi32(z, _mm256_slli_epi32(row, bits));
    const __m256i word = _mm256_add_epi32(row, _mm256_add_epi32(row, row));
    const __m256i c0 = _mm256_i32gather_epi32(table, word, 4);
    const __m256i c1 = _mm256_i32gather_epi32(table + 1, word, 4);
    const __m256i c23 = _mm256_i32gather_epi32(table + 2, word, 4);
    const __m256i c3d =
        _mm256_madd_epi16(c23, _mm256_and_si256(d, _mm256_set1_epi32(0xFFFF)));
    const __m256i u = _mm256_srai_epi32(_mm256_add_epi32(c23, c3d), 16);
    const __m256i t = _mm256_add_epi32(
        c1, _mm256_srai_epi32(_mm256_mullo_epi32(u, d), bits - 2));

    return _mm256_srai_epi32(_mm256_add_epi32(c0, _mm256_mullo_epi32(t, d)),
                             16);
}

static inline void point_avx2_sigmoids(const int16_t *a, uint32_t n, int16_t *y)
{
    for (; n >= 8; n -= 8, a += 8, y += 8)
        fx_avx2_store16(y, point_avx2_cubic(LUT_SIGMOID, point_avx2_load(a),
                                            LUT_SIGMOID_BITS));
    point_c_sigmoids(a, n, y);
}

static inline void point_avx2_tanhs(const int16_t *a, uint32_t n, int16_t *y)
{
    for (; n >= 8; n -= 8, a += 8, y += 8)
        fx_avx2_store16(
            y, point_avx2_cubic(LUT_TANH, point_avx2_load(a), LUT_TANH_BITS));
    point_c_tanhs(a, n, y);
}

/* With c = 2^14 high + low and p = i g:
 *
 *     f high + floor(p / 2^8) + floor((f low + 64 (p mod 2^8) + 2^13) / 2^14)
 *
 * stays within 32 bits: |f high| <= 2^30 and |p| <= 2^28. */
static inline uint32_t point_avx2_carry(const int16_t *f, const int16_t *i,
                                        const int16_t *g, uint32_t n,
                                        int32_t *c)
{
    const __m256i top = _mm256_set1_epi32(1 << 30),
                  bottom = _mm256_set1_epi32(-(1 << 30));
    uint32_t clamped = 0, u;

    for (u = 0; u + 8 <= n; u += 8) {
        __m256i *const place = (__m256i *)(void *)(c + u);
        const __m256i old = _mm256_loadu_si256(place);
        const __m256i keep = point_avx2_load(f + u);
        const __m256i in =
            i ? point_avx2_load(i + u)
              : _mm256_sub_epi32(_mm256_set1_epi32(LUT_ONE), keep);
        const __m256i p = _mm256_madd_epi16(in, point_avx2_load(g + u));
        const __m256i low = _mm256_madd_epi16(
            keep, _mm256_and_si256(old, _mm256_set1_epi32(LUT_ONE - 1)));
        const __m256i rest =
            _mm256_slli_epi32(_mm256_and_si256(p, _mm256_set1_epi32(255)), 6);
        const __m256i carried =
            _mm256_srai_epi32(_mm256_add_epi32(_mm256_add_epi32(low, rest),
                                               _mm256_set1_epi32(1 << 13)),
                              14);
        const __m256i high =
            _mm256_mullo_epi32(keep, _mm256_srai_epi32(old, 14));
        const __m256i sum = _mm256_add_epi32(
            _mm256_add_epi32(high, _mm256_srai_epi32(p, 8)), carried);
        const __m256i x = _mm256_min_epi32(_mm256_max_epi32(sum, bottom), top);
        const __m256i same = _mm256_cmpeq_epi32(x, sum);
        clamped +=
            8 - (uint32_t)__builtin_popcount(
                    (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(same)));
        _mm256_storeu_si256(place, x);
    }
    return clamped + point_c_carry(f + u, i ? i + u : i, g + u, n - u, c + u);
}

static inline void point_avx2_squash(const int16_t *o, const int32_t *c,
                                     uint32_t n, int16_t *h)
{
    for (; n >= 8; n -= 8, o += 8, c += 8, h += 8) {
        const __m256i old =
            _mm256_loadu_si256((const __m256i *)(const void *)c);
        const __m256i x =
            _mm256_srai_epi32(_mm256_add_epi32(old, _mm256_set1_epi32(128)), 8);
        const __m256i z =
            _mm256_min_epi32(_mm256_max_epi32(x, _mm256_set1_epi32(-32768)),
                             _mm256_set1_epi32(32767));
        const __m256i t = point_avx2_cubic(LUT_TANH, z, LUT_TANH_BITS);
        const __m256i product = _mm256_madd_epi16(point_avx2_load(o), t);
        fx_avx2_store16(
            h, _mm256_srai_epi32(
                   _mm256_add_epi32(product, _mm256_set1_epi32(1 << 13)), 14));
    }
    point_c_squash(o, c, n, h);
}

#endif
