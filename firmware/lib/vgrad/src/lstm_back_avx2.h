/* lstm_back_avx2.h - tbptt_lstm.c for x86 with AVX2, eight cells at once.
 *
 * The tape has the next step's values beside a step's: what belongs to cells
 * lies `apart`, is gathered, and is written one by one.
 */
#ifndef VG_LSTM_BACK_AVX2_H
#define VG_LSTM_BACK_AVX2_H

#include "fx_avx2.h"
#include "point_avx2.h"

/* One step of a layer, from the first cell on.  A field with a star for each
 * gate has them in the order i, f, o, g. */
typedef struct {
    const int16_t *values[4]; /* on the tape */
    const int32_t *c0;        /* likewise, before the step */
    const int32_t *c1;        /* after it */
    int32_t *above, *dr;      /* errors of h: taken, they leave zeros */
    int32_t *dc;              /* error of c, to that of the step before */
    int32_t *errors[4];       /* of the arguments: n, and */
    int32_t *tape[4];         /* on the tape */
    uint32_t apart;           /* on the tape */
    uint32_t c1_apart, above_apart;
} lstm_back;

/* Which eight cells, and which of them are there: all bits, or none. */
typedef struct {
    __m256i cell, there;
    uint32_t first, n;
} lstm_back_eight;

static VG_WITHIN __m256i lstm_back_gather(const lstm_back_eight *e,
                                          const int32_t *p, uint32_t apart)
{
    const __m256i at =
        _mm256_mullo_epi32(e->cell, _mm256_set1_epi32((int)apart));

    return _mm256_mask_i32gather_epi32(_mm256_setzero_si256(), p, at, e->there,
                                       4);
}

/* The same of 16 bits: the upper half of a word that starts before them, where
 * the arena has other things. */
static VG_WITHIN __m256i lstm_back_gather16(const lstm_back_eight *e,
                                            const int16_t *p, uint32_t apart)
{
    const __m256i at =
        _mm256_mullo_epi32(e->cell, _mm256_set1_epi32((int)apart));
    const int *before = (const int *)(const void *)(p - 1);

    return _mm256_srai_epi32(_mm256_mask_i32gather_epi32(_mm256_setzero_si256(),
                                                         before, at, e->there,
                                                         2),
                             16);
}

/* Onto the tape or onto above, from cell first on. */
static VG_WITHIN void lstm_back_scatter(const lstm_back_eight *e, __m256i x,
                                        int32_t *p, uint32_t apart)
{
    int32_t all[8];

    _mm256_storeu_si256((__m256i *)(void *)all, x);
    p += e->first * apart;
    for (uint32_t k = 0; k < e->n; k++, p += apart)
        *p = all[k];
}

static VG_WITHIN __m256i lstm_back_load(const lstm_back_eight *e,
                                        const int32_t *p)
{
    return _mm256_maskload_epi32(p + e->first, e->there);
}

static VG_WITHIN void lstm_back_store(const lstm_back_eight *e, int32_t *p,
                                      __m256i x)
{
    _mm256_maskstore_epi32(p + e->first, e->there, x);
}

/* ---- arithmetic of fx.h --------------------------------------------- */

/* The low 32 bits of rs(a b, n), n <= 32. */
static VG_WITHIN __m256i lstm_back_times(__m256i a, __m256i b, int n)
{
    const __m256i half = _mm256_set1_epi64x((int64_t)1 << (n - 1));
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(a, b), half);
    const __m256i odd = _mm256_add_epi64(
        _mm256_mul_epi32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32)),
        half);

    return _mm256_blend_epi32(_mm256_srli_epi64(even, n),
                              _mm256_slli_epi64(odd, 32 - n), 0xAA);
}

/* fx_times18 */
static VG_WITHIN __m256i lstm_back_times18(__m256i a, __m256i b)
{
    return lstm_back_times(a, b, 18);
}

/* The even lanes of sat31(x), of the odd ones whatever. */
static VG_WITHIN __m256i lstm_back_sat(__m256i x)
{
    const __m256i top = _mm256_set1_epi64x(INT32_MAX);
    const __m256i bottom = _mm256_set1_epi64x(-(int64_t)INT32_MAX);

    x = _mm256_blendv_epi8(x, top, _mm256_cmpgt_epi64(x, top));
    return _mm256_blendv_epi8(x, bottom, _mm256_cmpgt_epi64(bottom, x));
}

/* floor((a b + 2^23) / 2^24) of the even lanes. */
static VG_WITHIN __m256i lstm_back_even24(__m256i a, __m256i b)
{
    const __m256i big = _mm256_set1_epi64x((int64_t)1 << 62);
    const __m256i up = _mm256_set1_epi64x(((int64_t)1 << 62) + (1 << 23));
    const __m256i x = _mm256_add_epi64(_mm256_mul_epi32(a, b), up);

    return _mm256_sub_epi64(_mm256_srli_epi64(x, 24),
                            _mm256_srli_epi64(big, 24));
}

/* fx_times24_31 */
static VG_WITHIN __m256i lstm_back_times24_31(__m256i a, __m256i b)
{
    const __m256i even = lstm_back_sat(lstm_back_even24(a, b));
    const __m256i odd = lstm_back_sat(
        lstm_back_even24(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32)));

    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}

/* s (1 - s) and 1 - y^2, q28. */
static VG_WITHIN __m256i lstm_back_logistic(__m256i s)
{
    return _mm256_mullo_epi32(s,
                              _mm256_sub_epi32(_mm256_set1_epi32(LUT_ONE), s));
}

static VG_WITHIN __m256i lstm_back_tanh(__m256i y)
{
    return _mm256_sub_epi32(_mm256_set1_epi32(1 << 28),
                            _mm256_mullo_epi32(y, y));
}

/* vg_inward of c's error. */
static VG_WITHIN __m256i lstm_back_inward(__m256i d, __m256i c)
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i top = _mm256_cmpgt_epi32(c, _mm256_set1_epi32((1 << 30) - 1));
    const __m256i bottom =
        _mm256_cmpgt_epi32(_mm256_set1_epi32(1 - (1 << 30)), c);
    const __m256i outward =
        _mm256_or_si256(_mm256_and_si256(top, _mm256_cmpgt_epi32(zero, d)),
                        _mm256_and_si256(bottom, _mm256_cmpgt_epi32(d, zero)));

    return _mm256_andnot_si256(outward, d);
}

/* ---- eight cells ---------------------------------------------------- */

static VG_WITHIN void lstm_back_error(const lstm_back *s,
                                      const lstm_back_eight *e, int gate,
                                      __m256i d)
{
    lstm_back_store(e, s->errors[gate], d);
    lstm_back_scatter(e, d, s->tape[gate], s->apart);
}

/* tanh(c) after the step, q14. */
static VG_WITHIN __m256i lstm_back_squashed(__m256i c)
{
    const __m256i x = _mm256_srai_epi32(
        _mm256_add_epi32(_mm256_srai_epi32(c, 7), _mm256_set1_epi32(1)), 1);
    const __m256i z =
        _mm256_min_epi32(_mm256_max_epi32(x, _mm256_set1_epi32(-32768)),
                         _mm256_set1_epi32(32767));

    return point_avx2_cubic(LUT_TANH, z, LUT_TANH_BITS);
}

/* From h to the argument of o.  Returns the error of c. */
static VG_WITHIN __m256i lstm_back_h(const lstm_back *s,
                                     const lstm_back_eight *e)
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i o = lstm_back_gather16(e, s->values[2], s->apart);
    const __m256i c = lstm_back_gather(e, s->c1, s->c1_apart);
    const __m256i y = lstm_back_squashed(c);
    const __m256i dh =
        fx_avx2_plus31(lstm_back_gather(e, s->above, s->above_apart),
                       lstm_back_load(e, s->dr));
    const __m256i by_o = lstm_back_times18(lstm_back_logistic(o), y);
    const __m256i by_c = lstm_back_times18(lstm_back_tanh(y), o);

    lstm_back_scatter(e, zero, s->above, s->above_apart);
    lstm_back_store(e, s->dr, zero);
    lstm_back_error(s, e, 2, lstm_back_times(dh, by_o, 24));
    return lstm_back_inward(
        fx_avx2_plus31(lstm_back_load(e, s->dc), lstm_back_times(dh, by_c, 24)),
        c);
}

/* From c to the other arguments and to c of the step before. */
static VG_WITHIN void lstm_back_c(const lstm_back *s, const lstm_back_eight *e,
                                  __m256i d)
{
    const __m256i i = lstm_back_gather16(e, s->values[0], s->apart);
    const __m256i f = lstm_back_gather16(e, s->values[1], s->apart);
    const __m256i g = lstm_back_gather16(e, s->values[3], s->apart);
    const __m256i c = lstm_back_gather(e, s->c0, s->apart);
    const __m256i by_i = lstm_back_times18(lstm_back_logistic(i), g);
    const __m256i by_f = lstm_back_times24_31(lstm_back_logistic(f), c);
    const __m256i by_g = lstm_back_times18(lstm_back_tanh(g), i);

    lstm_back_error(s, e, 0, lstm_back_times(d, by_i, 24));
    lstm_back_error(s, e, 1, lstm_back_times24_31(d, by_f));
    lstm_back_error(s, e, 3, lstm_back_times(d, by_g, 24));
    lstm_back_store(e, s->dc, lstm_back_times(d, f, 14));
}

/* n cells, up to eight, from first on. */
static VG_WITHIN void lstm_back_some(const lstm_back *s, uint32_t first,
                                     uint32_t n)
{
    const __m256i eight = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const lstm_back_eight e = {
        _mm256_add_epi32(eight, _mm256_set1_epi32((int)first)),
        _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), eight), first, n};

    lstm_back_c(s, &e, lstm_back_h(s, &e));
}

static inline void lstm_back_avx2(const lstm_back *s, uint32_t n)
{
    uint32_t first = 0;

    for (; n - first >= 8; first += 8)
        lstm_back_some(s, first, 8); /* a constant: the loops unroll */
    if (first < n)
        lstm_back_some(s, first, n - first);
}

#endif
