/* point_c.h - what a layer does to whole vectors after its affine maps, in
 * portable C99: the reference for every other point_*.h.
 *
 *     sigmoids, tanhs   y[n] = values of a[n], which may be the same place
 *     lstm    all of an LSTM whose gates are its cells' own: arguments i, f, o
 *             and g, n of each, become values; c and h, those of this step
 *     gru     c' = z c + (1 - z) s, and h, the same on q14
 *
 * lstm and gru return how many values they clamped.
 */
#ifndef VG_POINT_C_H
#define VG_POINT_C_H

#include "lut.h"

static inline void point_c_sigmoids(const int16_t *a, uint32_t n, int16_t *y)
{
    const struct lut_seg *zero = LUT_SIGMOID;

    for (const int16_t *end = a + n; a < end;)
        *y++ = (int16_t)lut_sigmoid_at(zero, *a++);
}

static inline void point_c_tanhs(const int16_t *a, uint32_t n, int16_t *y)
{
    const struct lut_seg *zero = LUT_TANH;

    for (const int16_t *end = a + n; a < end;)
        *y++ = (int16_t)lut_tanh_at(zero, *a++);
}

static inline uint32_t point_c_lstm(int16_t *i, uint32_t n, int32_t *c,
                                    int16_t *h)
{
    const struct lut_seg *sigmoid = LUT_SIGMOID, *tanh = LUT_TANH;
    int16_t *f = i + n, *o = f + n, *g = o + n;
    uint32_t clamped = 0;

    for (const int16_t *end = f; i < end;) {
        const int32_t in = lut_sigmoid_at(sigmoid, *i);
        const int32_t cell = lut_tanh_at(tanh, *g);
        int32_t forget, out, next;
        *i++ = (int16_t)in;
        *g++ = (int16_t)cell;
        forget = lut_sigmoid_at(sigmoid, *f);
        *f++ = (int16_t)forget;
        next = fx_state(fx_mix(forget, *c, 64 * in, cell), &clamped);
        *c++ = next;
        out = lut_sigmoid_at(sigmoid, *o);
        *o++ = (int16_t)out;
        next = lut_tanh_at(tanh, fx_narrow32(fx_rs32(next, 8)));
        *h++ = (int16_t)fx_rs32(out * next, 14);
    }
    return clamped;
}

static inline uint32_t point_c_gru(const int16_t *z, const int16_t *s,
                                   uint32_t n, int32_t *c, int16_t *h)
{
    uint32_t clamped = 0;

    for (const int16_t *end = z + n; z < end;) {
        const int32_t keep = *z++;
        const int32_t next =
            fx_state(fx_mix(keep, *c, 64 * (LUT_ONE - keep), *s++), &clamped);
        const int32_t h_q14 = fx_rs32(next, 6);
        *c++ = next;
        *h = (int16_t)fx_narrow32(h_q14);
        clamped += *h++ != h_q14;
    }
    return clamped;
}

#endif
