/* dot_rows_pairs_avx2.h - x86 with AVX2: the rows of gates two by two, all
 * columns.
 *
 * Errors are cut, e = 2^cut high + low with -2^(cut-1) <= low < 2^(cut-1), so
 * that PMADDWD takes those of two rows at once and 32 bits hold the sums:
 *
 *     low    of at most 2^(17-cut) rows, cut <= 16: within 2^16 (2^15 - 1)
 *     high   within 2^15 times the highs, added up without their signs
 */
#ifndef VG_DOT_ROWS_PAIRS_AVX2_H
#define VG_DOT_ROWS_PAIRS_AVX2_H

#include "fx_avx2.h"

enum {
    DOT_PAIRS_GATES = 4,
    DOT_PAIRS_ROWS = 128,
    DOT_PAIRS_LEAST_CUT = 8,
    /* Of the highs added up: leaves room for what is added to their sum. */
    DOT_PAIRS_HIGHS = 65536 - 1024
};

/* The errors of a gate, cut; of an odd number of rows a zero is the last. */
typedef struct {
    int32_t low[DOT_PAIRS_ROWS / 2], high[DOT_PAIRS_ROWS / 2]; /* by twos */
    int cut;
} dot_pairs;

/* 2^cut: so that lows fit and something is left to be rounded away. */
static inline int dot_pairs_cut(const dot_rows *r)
{
    int cut = 16;

    for (uint32_t rows = 2; rows < r->rows; rows *= 2)
        cut--;
    return cut < r->shift ? cut : r->shift - 1;
}

/* Eight errors, n of them there, to their halves at `at`.  Returns the highs
 * without their signs, or more. */
static inline __m256i dot_pairs_eight(const int32_t *e, uint32_t n,
                                      dot_pairs *p, uint32_t at)
{
    const __m256i there =
        _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n),
                           _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    const __m256i half = _mm256_set1_epi32((int32_t)1 << (p->cut - 1));
    const __m128i cut = _mm_cvtsi32_si128(p->cut);
    const __m256i x = _mm256_maskload_epi32(e, there);
    const __m256i high = _mm256_sra_epi32(_mm256_add_epi32(x, half), cut);
    const __m256i low = _mm256_sub_epi32(x, _mm256_sll_epi32(high, cut));

    fx_avx2_store16((int16_t *)(void *)p->low + at, low);
    fx_avx2_store16((int16_t *)(void *)p->high + at, high);
    return _mm256_srl_epi32(_mm256_add_epi32(_mm256_abs_epi32(x), half), cut);
}

/* Cut the errors of a gate; 0 if they do not fit. */
static inline int dot_pairs_take(const dot_rows *r, dot_pairs *p)
{
    __m256i sum = _mm256_setzero_si256(), any = sum;

    if (r->rows > DOT_PAIRS_ROWS || r->shift > 31)
        return 0;
    p->cut = dot_pairs_cut(r);
    if (p->cut < DOT_PAIRS_LEAST_CUT)
        return 0;
    for (uint32_t at = 0; at < r->rows; at += 8) {
        const uint32_t left = r->rows - at;
        const __m256i size =
            dot_pairs_eight(r->e + at, left < 8 ? left : 8, p, at);
        any = _mm256_or_si256(any, size);
        sum = _mm256_add_epi32(sum, size);
    }
    any = _mm256_srli_epi32(any, 15); /* a high that 16 bits do not hold */
    return _mm256_testz_si256(any, any) && fx_avx2_sum(sum) <= DOT_PAIRS_HIGHS;
}

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
