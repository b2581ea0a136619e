/* dot_rows_avx2.h - x86 with AVX2: a row of four columns at a time, each sum in
 * the 64 bits of a lane.
 */
#ifndef VG_DOT_ROWS_AVX2_H
#define VG_DOT_ROWS_AVX2_H

#include <immintrin.h>

static inline int dot_rows_avx2_fit(const dot_rows *r)
{
    return r->shift > 0 && r->shift < 32;
}

static inline __m256i dot_rows_avx2_row(const int16_t *w, int32_t e)
{
    const __m128i four = _mm_loadl_epi64((const __m128i *)(const void *)w);

    return _mm256_mul_epi32(_mm256_cvtepi16_epi64(four), _mm256_set1_epi32(e));
}

/* Those of a gate, not rounded. */
static inline __m256i dot_rows_avx2_gate(const dot_rows *r, uint32_t j)
{
    const int16_t *w = r->w + j;
    const int32_t *e = r->e;
    uint32_t rows = r->rows;
    __m256i even = _mm256_setzero_si256(), odd = even;

    for (; rows >= 2; rows -= 2, w += 2 * r->stride, e += 2) {
        even = _mm256_add_epi64(even, dot_rows_avx2_row(w, e[0]));
        odd = _mm256_add_epi64(odd, dot_rows_avx2_row(w + r->stride, e[1]));
    }
    if (rows)
        odd = _mm256_add_epi64(odd, dot_rows_avx2_row(w, *e));
    return _mm256_add_epi64(even, odd);
}

/* 2^27 is added to what is rounded: then it has no sign, and no digit from 2^28
 * on. */
static inline int dot_rows_avx2(const dot_rows *r, const dot_rows *end,
                                uint32_t j, int32_t *sum)
{
    const __m256i top = _mm256_set1_epi64x((int64_t)1 << 27);
    const __m256i low = _mm256_setr_epi32(0, 2, 4, 6, 0, 0, 0, 0);
    __m256i all = _mm256_setzero_si256(), beyond = all;
    __m128i *const at = (__m128i *)(void *)sum, four;

    for (; r < end; r++) {
        const __m128i shift = _mm_cvtsi32_si128(r->shift);
        const __m256i half = _mm256_set1_epi64x((int64_t)1 << (r->shift - 1));
        __m256i s = _mm256_add_epi64(dot_rows_avx2_gate(r, j), half);
        s = _mm256_add_epi64(s, _mm256_sll_epi64(top, shift));
        s = _mm256_srl_epi64(s, shift);
        beyond = _mm256_or_si256(beyond, _mm256_srli_epi64(s, 28));
        all = _mm256_add_epi64(all, _mm256_sub_epi64(s, top));
    }
    four = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(all, low));
    _mm_storeu_si128(at, _mm_add_epi32(_mm_loadu_si128(at), four));
    return _mm256_testz_si256(beyond, beyond);
}

#endif
