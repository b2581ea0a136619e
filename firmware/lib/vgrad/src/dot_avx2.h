/* dot_avx2.h - x86 with AVX2: four rows at a time; dot_sse.h has what takes
 * two.
 */
#ifndef VG_DOT_AVX2_H
#define VG_DOT_AVX2_H

#include <immintrin.h>

#include "dot_fours.h"
#include "dot_sse.h"

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

/* Sixteen products onto row k's sums, as in dot_sse.h. */
#define DOT_AVX2_ADD16(k, w)                                                   \
    {                                                                          \
        const __m256i p = _mm256_madd_epi16(w, v);                             \
        low[k] = _mm256_add_epi32(low[k], p);                                  \
        high[k] = _mm256_add_epi32(high[k], _mm256_srai_epi32(p, 16));         \
    }
#define DOT_AVX2_ADD8(k, w)                                                    \
    sum[k] = _mm256_add_epi32(sum[k], _mm256_madd_epi16(w, v));

/* n columns of four rows. */
#define DOT_AVX2_ROWS(bits)                                                    \
    for (; n >= 16; n -= 16, w += 16, z += 16) {                               \
        const __m256i v = dot_avx2_16(z);                                      \
        DOT_AVX2_ADD##bits(0, dot_avx2_##bits(w));                             \
        DOT_AVX2_ADD##bits(1, dot_avx2_##bits(w + stride));                    \
        DOT_AVX2_ADD##bits(2, dot_avx2_##bits(w + 2 * stride));                \
        DOT_AVX2_ADD##bits(3, dot_avx2_##bits(w + 3 * stride));                \
    }                                                                          \
    if (n) {                                                                   \
        const __m256i v = dot_avx2_some16(z, n);                               \
        DOT_AVX2_ADD##bits(0, dot_avx2_some##bits(w, n));                      \
        DOT_AVX2_ADD##bits(1, dot_avx2_some##bits(w + stride, n));             \
        DOT_AVX2_ADD##bits(2, dot_avx2_some##bits(w + 2 * stride, n));         \
        DOT_AVX2_ADD##bits(3, dot_avx2_some##bits(w + 3 * stride, n));         \
    }

/* What four rows add in at most DOT_SSE_MOST16 columns, and _MOST8. */
static inline __m256i dot_avx2_part16(const int16_t *w, size_t stride,
                                      const int16_t *z, uint32_t n)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i low[4] = {zero, zero, zero, zero},
            high[4] = {zero, zero, zero, zero};
    __m128i l, h;

    DOT_AVX2_ROWS(16)
    l = dot_avx2_total(low[0], low[1], low[2], low[3]);
    h = dot_avx2_total(high[0], high[1], high[2], high[3]);
    l = _mm_sub_epi32(l, _mm_slli_epi32(h, 16)); /* as dot_sse_join */
    return _mm256_add_epi64(_mm256_slli_epi64(_mm256_cvtepi32_epi64(h), 16),
                            _mm256_cvtepu32_epi64(l));
}

static inline __m256i dot_avx2_part8(const int8_t *w, size_t stride,
                                     const int16_t *z, uint32_t n)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i sum[4] = {zero, zero, zero, zero};

    DOT_AVX2_ROWS(8)
    return _mm256_cvtepi32_epi64(
        dot_avx2_total(sum[0], sum[1], sum[2], sum[3]));
}

/* Rows from w on; stride columns in parts of `most`.  Returns the sums. */
#define DOT_AVX2_FOUR(part, most)                                              \
    __m256i sum = _mm256_setzero_si256();                                      \
    for (uint32_t j = 0; j < stride; j += most) {                              \
        const uint32_t n = stride - j;                                         \
        sum = _mm256_add_epi64(                                                \
            sum, part(w + j, stride, z + j, n < most ? n : most));             \
    }                                                                          \
    return sum;

static inline __m256i dot_avx2_four16(const int16_t *w, uint32_t stride,
                                      const int16_t *z)
{
    DOT_AVX2_FOUR(dot_avx2_part16, DOT_SSE_MOST16)
}

static inline __m256i dot_avx2_four8(const int8_t *w, uint32_t stride,
                                     const int16_t *z)
{
    DOT_AVX2_FOUR(dot_avx2_part8, DOT_SSE_MOST8)
}

/* Rows by four, which leaves in m those that are not made.  Returns where a
 * goes on. */
static inline int16_t *dot_avx2_fours16(dot_map *m, int16_t *a)
{
    const dot_avx2_rounding r = dot_avx2_exps(m, 0);
    const int16_t *w = m->w;
    const int32_t *b = m->b;
    uint32_t rows = m->rows;

    for (; rows >= 4; rows -= 4, a += 4, w += 4 * m->stride) {
        dot_avx2_round(dot_avx2_four16(w, m->stride, m->z), &r, b, a);
        b = b ? b + 4 : b;
    }
    m->w = w;
    m->b = b;
    m->rows = rows;
    return a;
}

static inline void dot_avx2_map16(const dot_map *m, int16_t *a)
{
    dot_map rest = *m;

    a = dot_avx2_fours16(&rest, a);
    m = &rest;
    DOT_C_MAP(int16_t, 0, dot_sse_w16)
}

static inline void dot_avx2_rows8(const dot_map *m, int16_t *a)
{
    const dot_avx2_rounding r = dot_avx2_exps(m, 1);

    dot_avx2_round(dot_avx2_four8(m->w, m->stride, m->z), &r, m->b, a);
}

static inline void dot_avx2_map8(const dot_map *m, int16_t *a)
{
    DOT_FOURS(int8_t, 1, dot_avx2_rows8, dot_sse_w8)
}

#undef DOT_AVX2_ADD16
#undef DOT_AVX2_ADD8
#undef DOT_AVX2_ROWS
#undef DOT_AVX2_FOUR

#endif
