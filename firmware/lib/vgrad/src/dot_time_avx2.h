/* dot_time_avx2.h - x86 with AVX2: a row's errors of 16 steps, cut into halves
 * (dot_time_piece.h) that fit 16 bits, with eight sources at a time.
 */
#ifndef VG_DOT_TIME_AVX2_H
#define VG_DOT_TIME_AVX2_H

#include "dot_time_piece.h"
#include "fx_avx2.h"

/* A row's errors, or what they give with sources: 2^12 high + low. */
typedef struct {
    __m256i low, high;
} dot_time_avx2_halves;

/* Sixteen numbers that fit 16 bits, in their order. */
static inline __m256i dot_time_avx2_pack(__m256i a, __m256i b)
{
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
}

static VG_WITHIN dot_time_avx2_halves dot_time_avx2_hadd(dot_time_avx2_halves a,
                                                         dot_time_avx2_halves b)
{
    const dot_time_avx2_halves sum = {_mm256_hadd_epi32(a.low, b.low),
                                      _mm256_hadd_epi32(a.high, b.high)};

    return sum;
}

/* What e gives with a source, eight parts of it. */
static VG_WITHIN dot_time_avx2_halves
dot_time_avx2_one(const dot_time_avx2_halves *e, const int16_t *z)
{
    const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)z);
    const dot_time_avx2_halves products = {_mm256_madd_epi16(e->low, v),
                                           _mm256_madd_epi16(e->high, v)};

    return products;
}

/* ... with four, each twice four parts: n of them from z on, `apart` from one
 * to the next; the last stands for those that are not there. */
static VG_WITHIN dot_time_avx2_halves dot_time_avx2_four(
    const dot_time_avx2_halves *e, const int16_t *z, uint32_t apart, uint32_t n)
{
    const int16_t *const z1 = n > 1 ? z + apart : z;
    const int16_t *const z2 = n > 2 ? z1 + apart : z1;
    const int16_t *const z3 = n > 3 ? z2 + apart : z2;

    return dot_time_avx2_hadd(
        dot_time_avx2_hadd(dot_time_avx2_one(e, z), dot_time_avx2_one(e, z1)),
        dot_time_avx2_hadd(dot_time_avx2_one(e, z2), dot_time_avx2_one(e, z3)));
}

/* Both halves of the vectors added up: the sums of eight sources. */
static VG_WITHIN __m256i dot_time_avx2_join(__m256i a, __m256i b)
{
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                            _mm256_permute2x128_si256(a, b, 0x31));
}

/* g[n] = rs(sum of e[16] with a source, exp), exp in 12..14, of the n sources,
 * up to eight, from z on. */
static VG_WITHIN void dot_time_avx2_group(const dot_time_avx2_halves *e,
                                          const int16_t *z, uint32_t apart,
                                          uint32_t n, int exp, int32_t *g)
{
    const __m256i half = _mm256_set1_epi32(1 << (exp - 1));
    const dot_time_avx2_halves a = dot_time_avx2_four(e, z, apart, n);
    const dot_time_avx2_halves b =
        n > 4 ? dot_time_avx2_four(e, z + 4 * apart, apart, n - 4) : a;
    __m256i sum = _mm256_add_epi32(dot_time_avx2_join(a.low, b.low), half);

    sum = _mm256_add_epi32(dot_time_avx2_join(a.high, b.high),
                           _mm256_srai_epi32(sum, DOT_HALF));
    sum = _mm256_sra_epi32(sum, _mm_cvtsi32_si128(exp - DOT_HALF));
    if (n == 8)
        _mm256_storeu_si256((__m256i *)(void *)g, sum);
    else
        _mm256_maskstore_epi32(
            g,
            _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n),
                               _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
            sum);
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
    const dot_time_avx2_halves halves = {
        dot_time_avx2_pack(_mm256_and_si256(e0, mask),
                           _mm256_and_si256(e1, mask)),
        dot_time_avx2_pack(_mm256_srai_epi32(e0, DOT_HALF),
                           _mm256_srai_epi32(e1, DOT_HALF))};
    const uint32_t apart = r->apart;
    const int16_t *z = r->z;
    int32_t *g = r->g;
    uint32_t columns = r->columns;

    for (; columns >= 8; columns -= 8, z += 8 * apart, g += 8)
        dot_time_avx2_group(&halves, z, apart, 8, r->exp, g);
    if (columns)
        dot_time_avx2_group(&halves, z, apart, columns, r->exp, g);
}

#endif
