/* dot_avx2.h - x86 with AVX2: four rows at a time; dot_sse.h has what takes
 * two.
 */
#ifndef VG_DOT_AVX2_H
#define VG_DOT_AVX2_H

#include "dot_avx2_parts.h"
#include "dot_fours.h"
#include "dot_sse.h"

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
