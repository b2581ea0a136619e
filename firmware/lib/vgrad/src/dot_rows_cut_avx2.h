/* dot_rows_cut_avx2.h - x86 with AVX2: the errors of a gate cut in two,
 *
 *     e = 2^cut high + low with -2^(cut-1) <= low < 2^(cut-1)
 *
 * so that PMADDWD takes those of two rows at once and 32 bits hold the sums:
 *
 *     low    of at most 2^(17-cut) rows, cut <= 16: within 2^16 (2^15 - 1)
 *     high   within 2^15 times the highs, added up without their signs
 */
#ifndef VG_DOT_ROWS_CUT_AVX2_H
#define VG_DOT_ROWS_CUT_AVX2_H

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

#endif
