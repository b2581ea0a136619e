/* dot_rows_avx2.h - x86 with AVX2: a row of four columns at a time, each sum in
 * the 64 bits of a lane.
 */
#ifndef VG_DOT_ROWS_AVX2_H
#define VG_DOT_ROWS_AVX2_H

#include <immintrin.h>
#include <stdint.h>

static inline __m256i dot_rows_avx2_row(const int16_t *w, int32_t e)
{
    const __m128i four = _mm_loadl_epi64((const __m128i *)(const void *)w);

    return _mm256_mul_epi32(_mm256_cvtepi16_epi64(four), _mm256_set1_epi32(e));
}

static inline void dot_rows_avx2(const int16_t *w, uint32_t stride,
                                 const int32_t *e, uint32_t rows, int64_t *sum)
{
    __m256i *const at = (__m256i *)(void *)sum;
    __m256i even = _mm256_loadu_si256(at), odd = _mm256_setzero_si256();

    for (; rows >= 2; rows -= 2, w += 2 * stride, e += 2) {
        even = _mm256_add_epi64(even, dot_rows_avx2_row(w, e[0]));
        odd = _mm256_add_epi64(odd, dot_rows_avx2_row(w + stride, e[1]));
    }
    if (rows)
        odd = _mm256_add_epi64(odd, dot_rows_avx2_row(w, *e));
    _mm256_storeu_si256(at, _mm256_add_epi64(even, odd));
}

#endif
