/* dot_sse.h - x86 with SSE2, which every x86-64 has: PMADDWD adds two products
 * of 16 bits in 32, enough for all but twice -32768 * -32768, and no weight is
 * -32768.
 */
#ifndef VG_DOT_SSE_H
#define VG_DOT_SSE_H

#include <emmintrin.h>

#include "dot_c.h"

/* Columns before 32 bits are not enough: the low halves of 2^15 pairs are below
 * 2^31; 2^8 products of 8 and 16 bits are at most 2^30. */
enum { DOT_SSE_MOST16 = 1 << 16, DOT_SSE_MOST8 = 1 << 8 };

static inline __m128i dot_sse_load(const int16_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* Eight weights of 8 bits. */
static inline __m128i dot_sse_widen(const int8_t *w)
{
    const __m128i v = _mm_loadl_epi64((const __m128i *)(const void *)w);

    return _mm_srai_epi16(_mm_unpacklo_epi8(v, v), 8);
}

/* The four 32-bit numbers of v added up. */
static inline int32_t dot_sse_total(__m128i v)
{
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, _MM_SHUFFLE(1, 0, 3, 2)));
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtsi128_si32(v);
}

/* Pairs p have been added up to low, modulo 2^32, and p >> 16 to high.  What
 * high leaves out is not negative and below 2^32. */
static inline int64_t dot_sse_join(int32_t low, int32_t high)
{
    const uint32_t rest = (uint32_t)low - ((uint32_t)high << 16);

    return high * INT64_C(65536) + rest;
}

/* Two rows of at most DOT_SSE_MOST16 columns, a multiple of 8. */
static inline void dot_sse_two16(const int16_t *w0, const int16_t *w1,
                                 const int16_t *z, uint32_t n, int64_t *sum)
{
    const __m128i zero = _mm_setzero_si128();
    __m128i low0 = zero, low1 = zero, high0 = zero, high1 = zero;

    for (uint32_t j = 0; j < n; j += 8) {
        const __m128i v = dot_sse_load(z + j);
        const __m128i p0 = _mm_madd_epi16(dot_sse_load(w0 + j), v);
        const __m128i p1 = _mm_madd_epi16(dot_sse_load(w1 + j), v);
        low0 = _mm_add_epi32(low0, p0);
        low1 = _mm_add_epi32(low1, p1);
        high0 = _mm_add_epi32(high0, _mm_srai_epi32(p0, 16));
        high1 = _mm_add_epi32(high1, _mm_srai_epi32(p1, 16));
    }
    sum[0] += dot_sse_join(dot_sse_total(low0), dot_sse_total(high0));
    sum[1] += dot_sse_join(dot_sse_total(low1), dot_sse_total(high1));
}

/* And of at most DOT_SSE_MOST8. */
static inline void dot_sse_two8(const int8_t *w0, const int8_t *w1,
                                const int16_t *z, uint32_t n, int64_t *sum)
{
    __m128i sum0 = _mm_setzero_si128(), sum1 = sum0;

    for (uint32_t j = 0; j < n; j += 8) {
        const __m128i v = dot_sse_load(z + j);
        sum0 = _mm_add_epi32(sum0, _mm_madd_epi16(dot_sse_widen(w0 + j), v));
        sum1 = _mm_add_epi32(sum1, _mm_madd_epi16(dot_sse_widen(w1 + j), v));
    }
    sum[0] += dot_sse_total(sum0);
    sum[1] += dot_sse_total(sum1);
}

/* Any number of columns. */
#define DOT_SSE_ANY(bits, two, most)                                           \
    while (n >= 8) {                                                           \
        const uint32_t part = n < most ? n & ~7u : most;                       \
        two(w0, w1, z, part, sum);                                             \
        w0 += part, w1 += part, z += part, n -= part;                          \
    }                                                                          \
    dot_c_w##bits(w0, w1, z, n, sum);

static inline void dot_sse_w16(const int16_t *w0, const int16_t *w1,
                               const int16_t *z, uint32_t n, int64_t *sum)
{
    DOT_SSE_ANY(16, dot_sse_two16, DOT_SSE_MOST16)
}

static inline void dot_sse_w8(const int8_t *w0, const int8_t *w1,
                              const int16_t *z, uint32_t n, int64_t *sum)
{
    DOT_SSE_ANY(8, dot_sse_two8, DOT_SSE_MOST8)
}

#undef DOT_SSE_ANY

static inline void dot_sse_map16(const dot_map *m, int16_t *a)
{
    if (m->stride < 8) { /* shorter than a vector */
        dot_c_map16(m, a);
    } else {
        DOT_C_MAP(int16_t, 0, dot_sse_w16)
    }
}

static inline void dot_sse_map8(const dot_map *m, int16_t *a)
{
    if (m->stride < 8) {
        dot_c_map8(m, a);
    } else {
        DOT_C_MAP(int8_t, 1, dot_sse_w8)
    }
}

#endif
