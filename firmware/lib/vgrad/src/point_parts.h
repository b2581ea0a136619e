/* point_parts.h - of what point_c.h does in one pass the parts that vectors do
 * one after another, in C: the reference, and for what fills no vector.
 *
 *     carry   c' = f c + i g; without i it is 1 - f.  Returns the clamps
 *     squash  h = o tanh(c)
 */
#ifndef VG_POINT_PARTS_H
#define VG_POINT_PARTS_H

#include "point_c.h"

static inline uint32_t point_c_carry(const int16_t *f, const int16_t *i,
                                     const int16_t *g, uint32_t n, int32_t *c)
{
    uint32_t clamped = 0;

    for (uint32_t u = 0; u < n; u++) {
        const int32_t in = i ? i[u] : LUT_ONE - f[u];
        c[u] = fx_state(fx_mix(f[u], c[u], 64 * in, g[u]), &clamped);
    }
    return clamped;
}

static inline void point_c_squash(const int16_t *o, const int32_t *c,
                                  uint32_t n, int16_t *h)
{
    for (uint32_t u = 0; u < n; u++)
        h[u] = (int16_t)fx_rs32(o[u] * lut_tanh(fx_narrow32(fx_rs32(c[u], 8))),
                                14);
}

#endif
