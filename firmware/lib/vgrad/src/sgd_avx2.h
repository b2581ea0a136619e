/* sgd_avx2.h - x86 with AVX2: eight weights at once. */
#ifndef VG_SGD_AVX2_H
#define VG_SGD_AVX2_H

#include "fx_avx2.h"
#include "sgd_c.h"

/* floor((x by + more) / 2^32) */
static VG_WITHIN __m256i sgd_avx2_high(__m256i x, int32_t by, int64_t more)
{
    const __m256i factor = _mm256_set1_epi32(by);
    const __m256i add = _mm256_set1_epi64x(more);
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, factor), add);
    const __m256i odd = _mm256_add_epi64(
        _mm256_mul_epi32(_mm256_srli_epi64(x, 32), factor), add);

    return _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
}

/* rs(2^left x by, 32). */
static VG_WITHIN __m256i sgd_avx2_scaled(const vg_scaling *s, __m256i x)
{
    return sgd_avx2_high(_mm256_sll_epi32(x, _mm_cvtsi32_si128(s->left)), s->by,
                         (int64_t)1 << 31);
}

static VG_WITHIN __m256i sgd_avx2_clipped(const vg_scaling *s, __m256i g)
{
    if (!s->by)
        return g;
    if (!s->right)
        return sgd_avx2_scaled(s, g);
    g = _mm256_add_epi32(sgd_avx2_high(g, s->by, 0),
                         _mm256_set1_epi32((int32_t)1 << (s->right - 1)));
    return _mm256_sra_epi32(g, _mm_cvtsi32_si128(s->right));
}

static VG_WITHIN __m256i sgd_avx2_wide(const int16_t *p)
{
    return _mm256_cvtepi16_epi32(
        _mm_loadu_si128((const __m128i *)(const void *)p));
}

/* Move eight weights and forget their gradient; or 0, and they stay, if one
 * comes near its limit. */
static VG_WITHIN int sgd_avx2_eight(const vg_sgd *sgd, vg_sig *hi, int16_t *lo,
                                    int32_t *g)
{
    const __m256i gradient =
        _mm256_loadu_si256((const __m256i *)(const void *)g);
    const __m256i step =
        sgd_avx2_scaled(&sgd->rate, sgd_avx2_clipped(&sgd->clip, gradient));
    const __m256i master = _mm256_add_epi32(
        _mm256_slli_epi32(sgd_avx2_wide(hi), 16), sgd_avx2_wide(lo));
    const __m256i sum = _mm256_add_epi32(master, step);
    const __m256i new_hi =
        _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(32768)), 16);
    const __m256i full = _mm256_cmpgt_epi32(_mm256_abs_epi32(new_hi),
                                            _mm256_set1_epi32(VG_HI_FULL - 1));

    if (!_mm256_testz_si256(full, full))
        return 0;
    fx_avx2_store16(hi, new_hi);
    fx_avx2_store16(lo, _mm256_sub_epi32(sum, _mm256_slli_epi32(new_hi, 16)));
    _mm256_storeu_si256((__m256i *)(void *)g, _mm256_setzero_si256());
    return 1;
}

static inline int32_t *sgd_avx2(const vg_sgd *sgd, vg_sig *hi, int16_t *lo,
                                int32_t *g, const int32_t *end)
{
    const vg_sgd s = *sgd; /* no store below changes it */

    for (; end - g >= 8 && sgd_avx2_eight(&s, hi, lo, g); g += 8, hi += 8)
        lo += 8;
    return sgd_c(&s, hi, lo, g, end);
}

#endif
