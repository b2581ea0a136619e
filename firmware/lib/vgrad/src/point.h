/* point.h - the vectors of this machine for what point_c.h says, as dot.h has
 * its kernels.  Those that gather need the full tables.
 */
#ifndef VG_POINT_H
#define VG_POINT_H

#include "point_c.h"

#if defined(VG_PORTABLE) || defined(VG_SMALL_TABLES)
#define POINT(what) point_c_##what
#define POINT_IN_ONE_PASS
#elif defined(__ARM_FEATURE_MVE)
#include "point_mve.h"
#define POINT(what) point_mve_##what
#elif defined(__AVX2__)
#include "point_avx2.h"
#define POINT(what) point_avx2_##what
#else
#define POINT(what) point_c_##what
#define POINT_IN_ONE_PASS
#endif

/* lstm and gru of point_c.h. */
#ifdef POINT_IN_ONE_PASS
#define point_lstm point_c_lstm
#define point_gru point_c_gru
#else
static inline uint32_t point_lstm(int16_t *i, uint32_t n, int32_t *c,
                                  int16_t *h)
{
    int16_t *f = i + n, *o = f + n, *g = o + n;
    uint32_t clamped;

    POINT(sigmoids)(i, 3 * n, i);
    POINT(tanhs)(g, n, g);
    clamped = POINT(carry)(f, i, g, n, c);
    POINT(squash)(o, c, n, h);
    return clamped;
}

static inline uint32_t point_gru(const int16_t *z, const int16_t *s, uint32_t n,
                                 int32_t *c, int16_t *h)
{
    uint32_t clamped = POINT(carry)(z, (void *)0, s, n, c);

    for (uint32_t u = 0; u < n; u++) {
        const int32_t h_q14 = fx_rs32(c[u], 6);
        h[u] = (int16_t)fx_narrow32(h_q14);
        clamped += h[u] != h_q14;
    }
    return clamped;
}
#endif

#endif
