/* dot_avx2_parts.h - x86 with AVX2: loads, totals and rounding of four rows. */
#ifndef VG_DOT_AVX2_PARTS_H
#define VG_DOT_AVX2_PARTS_H

#include <immintrin.h>

#include "dot_c.h"

/* Sixteen columns of z or of a row; or the first n of them, a multiple of four,
 * and zeros behind. */
static inline __m256i dot_avx2_16(const int16_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static inline __m256i dot_avx2_some16(const int16_t *p, uint32_t n)
{
    const __m256i place = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

    return _mm256_maskload_epi32(
        (const int *)(const void *)p,
        _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n / 2), place));
}

static inline __m256i dot_avx2_8(const int8_t *p)
{
    return _mm256_cvtepi8_epi16(
        _mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline __m256i dot_avx2_some8(const int8_t *p, uint32_t n)
{
    const __m128i place = _mm_setr_epi32(0, 1, 2, 3);

    return _mm256_cvtepi8_epi16(
        _mm_maskload_epi32((const int *)(const void *)p,
                           _mm_cmpgt_epi32(_mm_set1_epi32((int)n / 4), place)));
}

/* The eight numbers of each of four vectors added up. */
static inline __m128i dot_avx2_total(__m256i a, __m256i b, __m256i c, __m256i d)
{
    const __m256i v =
        _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));

    return _mm_add_epi32(_mm256_castsi256_si128(v),
                         _mm256_extracti128_si256(v, 1));
}

/* How four sums are rounded: 2^62 makes the shift one of positive numbers, for
 * there is no other of 64 bits. */
typedef struct {
    __m256i shift, half; /* and 2^62 */
    __m256i big;         /* 2^62 shifted */
} dot_avx2_rounding;

/* `each`: bytes of exps from row to row. */
static inline dot_avx2_rounding dot_avx2_exps(const dot_map *m, int each)
{
    const __m256i big = _mm256_set1_epi64x((int64_t)1 << 62);
    const uint8_t *e = m->exps;
    dot_avx2_rounding r;

    r.shift =
        _mm256_setr_epi64x(e[0] - m->arg_exp, e[each] - m->arg_exp,
                           e[2 * each] - m->arg_exp, e[3 * each] - m->arg_exp);
    r.half = _mm256_add_epi64(
        _mm256_srli_epi64(_mm256_sllv_epi64(_mm256_set1_epi64x(1), r.shift), 1),
        big);
    r.big = _mm256_srlv_epi64(big, r.shift);
    return r;
}

/* a[4] = sat16(rs(sum + b, exps[] - arg_exp)), b null or four of them. */
static inline void dot_avx2_round(__m256i sum, const dot_avx2_rounding *r,
                                  const int32_t *b, int16_t *a)
{
    const __m256i top = _mm256_set1_epi64x(32767),
                  bottom = _mm256_set1_epi64x(-32768);
    __m128i low;

    if (b)
        sum = _mm256_add_epi64(sum, _mm256_cvtepi32_epi64(_mm_loadu_si128(
                                        (const __m128i *)(const void *)b)));
    sum = _mm256_add_epi64(sum, r->half);
    sum = _mm256_sub_epi64(_mm256_srlv_epi64(sum, r->shift), r->big);
    sum = _mm256_blendv_epi8(sum, top, _mm256_cmpgt_epi64(sum, top));
    sum = _mm256_blendv_epi8(sum, bottom, _mm256_cmpgt_epi64(bottom, sum));
    low = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(
        sum, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6)));
    _mm_storel_epi64((__m128i *)(void *)a, _mm_packs_epi32(low, low));
}

#endif
