/* dot_time_avx2.h - x86 with AVX2: a row's errors of 16 steps, cut into halves
 * (dot_time_piece.h) that fit 16 bits, with eight sources at a time.
 */
#ifndef VG_DOT_TIME_AVX2_H
#define VG_DOT_TIME_AVX2_H

#include "dot_time_piece.h"
#include "fx_avx2.h"

/* What e gives with each of eight sources, n of them from z on; the last stands
 * for those that are not there. */
static inline __m256i dot_time_avx2_eight(__m256i e, const int16_t *z,
                                          uint32_t apart, uint32_t n)
{
    __m256i v[8], a, b;

    for (uint32_t k = 0; k < 8; z += ++k < n ? apart : 0)
        v[k] = _mm256_madd_epi16(
            e, _mm256_loadu_si256((const __m256i *)(const void *)z));
    a = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]),
                          _mm256_hadd_epi32(v[2], v[3]));
    b = _mm256_hadd_epi32(_mm256_hadd_epi32(v[4], v[5]),
                          _mm256_hadd_epi32(v[6], v[7]));
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                            _mm256_permute2x128_si256(a, b, 0x31));
}

/* Sixteen numbers that fit 16 bits, in their order. */
static inline __m256i dot_time_avx2_pack(__m256i a, __m256i b)
{
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
}

/* g[n] = rs(sum of e[16] with a source, exp), exp in 12..14, of the n sources,
 * up to eight, from z on, `apart` from one to the next; e = 2^12 high + low. */
static inline void dot_time_avx2_group(__m256i low, __m256i high,
                                       const int16_t *z, uint32_t apart,
                                       uint32_t n, int exp, int32_t *g)
{
    const __m256i half = _mm256_set1_epi32(1 << (exp - 1));
    const __m256i there =
        _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n),
                           _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    __m256i sum = _mm256_add_epi32(dot_time_avx2_eight(low, z, apart, n), half);

    sum = _mm256_add_epi32(dot_time_avx2_eight(high, z, apart, n),
                           _mm256_srai_epi32(sum, DOT_HALF));
    sum = _mm256_sra_epi32(sum, _mm_cvtsi32_si128(exp - DOT_HALF));
    _mm256_maskstore_epi32(g, there, sum);
}

/* Of 16 errors the sum, and that of their sixteenths without signs. */
static inline void dot_time_avx2_measure(const int32_t *e, uint32_t *sum,
                                         uint32_t *size)
{
    __m256i sums = _mm256_setzero_si256(), sizes = sums;

    for (int k = 0; k < DOT_PIECE; k += 8) {
        const __m256i x =
            _mm256_loadu_si256((const __m256i *)(const void *)(e + k));
        const __m256i positive = _mm256_xor_si256(x, _mm256_srai_epi32(x, 31));
        sums = _mm256_add_epi32(sums, x);
        sizes = _mm256_add_epi32(sizes, _mm256_srli_epi32(positive, 4));
    }
    *sum = fx_avx2_sum(sums);
    *size = fx_avx2_sum(sizes);
}

/* All columns of a row of 16 steps whose errors fit (dot_piece_fits). */
static inline void dot_time_avx2(const dot_row *r)
{
    const __m256i *const e = (const __m256i *)(const void *)r->e;
    const __m256i e0 = _mm256_loadu_si256(e), e1 = _mm256_loadu_si256(e + 1);
    const __m256i mask = _mm256_set1_epi32((1 << DOT_HALF) - 1);
    const __m256i low = dot_time_avx2_pack(_mm256_and_si256(e0, mask),
                                           _mm256_and_si256(e1, mask));
    const __m256i high = dot_time_avx2_pack(_mm256_srai_epi32(e0, DOT_HALF),
                                            _mm256_srai_epi32(e1, DOT_HALF));
    const int16_t *z = r->z;
    int32_t *g = r->g;
    uint32_t columns = r->columns;

    for (; columns >= 8; columns -= 8, z += 8 * r->apart, g += 8)
        dot_time_avx2_group(low, high, z, r->apart, 8, r->exp, g);
    if (columns)
        dot_time_avx2_group(low, high, z, r->apart, columns, r->exp, g);
}

#endif
