/* fx_avx2.h - what kernels for x86 with AVX2 have in common: fx.h for eight
 * numbers at once.
 */
#ifndef VG_FX_AVX2_H
#define VG_FX_AVX2_H

#include <immintrin.h>

#include "fx.h"

/* Numbers that fit 16 bits. */
static inline void fx_avx2_store16(int16_t *p, __m256i x)
{
    _mm_storeu_si128((__m128i *)(void *)p,
                     _mm_packs_epi32(_mm256_castsi256_si128(x),
                                     _mm256_extracti128_si256(x, 1)));
}

/* All eight added up, modulo 2^32. */
static inline uint32_t fx_avx2_sum(__m256i x)
{
    __m128i y = _mm_add_epi32(_mm256_castsi256_si128(x),
                              _mm256_extracti128_si256(x, 1));

    y = _mm_hadd_epi32(y, y);
    return (uint32_t)_mm_cvtsi128_si32(_mm_hadd_epi32(y, y));
}

/* fx_plus31 */
static VG_WITHIN __m256i fx_avx2_plus31(__m256i a, __m256i b)
{
    const __m256i top = _mm256_set1_epi32(INT32_MAX);
    const __m256i sum = _mm256_add_epi32(a, b);
    const __m256i beyond =
        _mm256_and_si256(_mm256_xor_si256(a, sum), _mm256_xor_si256(b, sum));
    const __m256i limit = _mm256_xor_si256(_mm256_srai_epi32(a, 31), top);
    const __m256i y = _mm256_castps_si256(
        _mm256_blendv_ps(_mm256_castsi256_ps(sum), _mm256_castsi256_ps(limit),
                         _mm256_castsi256_ps(beyond)));

    return _mm256_max_epi32(y, _mm256_set1_epi32(-INT32_MAX));
}

#endif
