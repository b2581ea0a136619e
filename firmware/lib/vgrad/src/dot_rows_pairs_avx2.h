/* dot_rows_pairs_avx2.h - x86 with AVX2: the rows of gates two by two, all
 * columns, with errors that are cut in two.
 */
#ifndef VG_DOT_ROWS_PAIRS_AVX2_H
#define VG_DOT_ROWS_PAIRS_AVX2_H

#include "dot_rows_cut_avx2.h"

/* Eight columns of two rows, or sixteen of which v[0] has the first four of
 * each eight, v[1] the others: column by column both weights. */
static VG_WITHIN void dot_pairs_weights(const int16_t *w0, const int16_t *w1,
                                        int eights, __m256i *v)
{
    if (eights == 1) {
        const __m128i a = _mm_loadu_si128((const __m128i *)(const void *)w0);
        const __m128i b = _mm_loadu_si128((const __m128i *)(const void *)w1);
        v[0] = _mm256_setr_m128i(_mm_unpacklo_epi16(a, b),
                                 _mm_unpackhi_epi16(a, b));
    } else {
        const __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)w0);
        const __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)w1);
        v[0] = _mm256_unpacklo_epi16(a, b);
        v[1] = _mm256_unpackhi_epi16(a, b);
    }
}

/* sum[] += rs(sum over the gate's rows of w e, shift) of columns from w on.
 * Returns these plus 2^27. */
static VG_WITHIN __m256i dot_pairs_gate(const dot_rows *r, const dot_pairs *p,
                                        uint32_t j, int eights, __m256i *sum)
{
    const __m256i half =
        _mm256_set1_epi32((int32_t)1 << (r->shift - 1 - p->cut));
    const __m128i cut = _mm_cvtsi32_si128(p->cut);
    const __m128i rest = _mm_cvtsi32_si128(r->shift - p->cut);
    const __m256i zero = _mm256_setzero_si256();
    __m256i low[2] = {zero, zero}, high[2] = {half, half}, up = zero;
    const int16_t *w = r->w + j;

    for (uint32_t row = 0; row < r->rows; row += 2, w += 2 * r->stride) {
        const __m256i l = _mm256_set1_epi32(p->low[row / 2]);
        const __m256i h = _mm256_set1_epi32(p->high[row / 2]);
        __m256i v[2];
        dot_pairs_weights(w, row + 1 < r->rows ? w + r->stride : w, eights, v);
        for (int k = 0; k < eights; k++) {
            low[k] = _mm256_add_epi32(low[k], _mm256_madd_epi16(v[k], l));
            high[k] = _mm256_add_epi32(high[k], _mm256_madd_epi16(v[k], h));
        }
    }
    for (int k = 0; k < eights; k++) {
        const __m256i x = _mm256_sra_epi32(
            _mm256_add_epi32(high[k], _mm256_sra_epi32(low[k], cut)), rest);
        sum[k] = _mm256_add_epi32(sum[k], x);
        up = _mm256_or_si256(up,
                             _mm256_add_epi32(x, _mm256_set1_epi32(1 << 27)));
    }
    return up;
}

/* dz[] += the errors of columns from j on, but for the first `skip`; or 0, and
 * nothing, where those of one gate may be beyond +-2^27. */
static VG_WITHIN int dot_pairs_columns(const dot_rows *r, const dot_rows *end,
                                       const dot_pairs *p, uint32_t j,
                                       int eights, uint32_t skip, int32_t *dz)
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i there =
        _mm256_cmpgt_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                           _mm256_set1_epi32((int32_t)skip - 1));
    __m256i sum[2] = {zero, zero}, up = zero;

    for (; r < end; r++, p++)
        up = _mm256_or_si256(up, dot_pairs_gate(r, p, j, eights, sum));
    up = _mm256_srli_epi32(up, 28);
    if (!_mm256_testz_si256(up, up))
        return 0;
    if (eights == 2) {
        const __m256i first = _mm256_permute2x128_si256(sum[0], sum[1], 0x20);
        sum[1] = _mm256_permute2x128_si256(sum[0], sum[1], 0x31);
        sum[0] = first;
    }
    for (int k = 0; k < eights; k++, dz += 8)
        _mm256_maskstore_epi32(
            dz, there,
            fx_avx2_plus31(_mm256_maskload_epi32(dz, there), sum[k]));
    return 1;
}

/* dz[n] += the errors of n columns of gates, but for the last ones.  Returns
 * how many it did. */
static inline uint32_t dot_pairs_avx2(const dot_rows *r, const dot_rows *end,
                                      uint32_t n, int32_t *dz)
{
    dot_pairs p[DOT_PAIRS_GATES];
    uint32_t j = 0;

    if (n < 8 || end - r > DOT_PAIRS_GATES)
        return 0;
    for (int k = 0; k < end - r; k++)
        if (!dot_pairs_take(r + k, p + k))
            return 0;
    for (; n - j >= 16; j += 16)
        if (!dot_pairs_columns(r, end, p, j, 2, 0, dz + j))
            return j;
    for (; n - j >= 8; j += 8)
        if (!dot_pairs_columns(r, end, p, j, 1, 0, dz + j))
            return j;
    if (j < n &&
        dot_pairs_columns(r, end, p, n - 8, 1, j - (n - 8), dz + n - 8))
        return n;
    return j;
}

#endif
