/* point.h - the vectors of this machine for what point_c.h says, as dot.h has
 * its kernels.  Those that gather need the full tables.
 */
#ifndef VG_POINT_H
#define VG_POINT_H

#include "options.h"
#include "point_c.h"

#if defined(VG_PORTABLE) || defined(VG_SMALL_TABLES) || !VG_RUNS_FAST
#define POINT_IN_ONE_PASS
#elif defined(__ARM_FEATURE_MVE)
#include "point_mve.h"
#define POINT_SIGMOIDS point_mve_sigmoids
#define POINT_TANHS point_mve_tanhs
#define POINT_CARRY point_mve_carry
#define POINT_SQUASH point_mve_squash
#elif defined(__AVX2__)
#include "point_avx2.h"
#define POINT_SIGMOIDS point_avx2_sigmoids
#define POINT_TANHS point_avx2_tanhs
#define POINT_CARRY point_avx2_carry
#define POINT_SQUASH point_avx2_squash
#elif VG_THUMB2
#define POINT_IN_ONE_PASS
#include "point_thumb2.h"
#define point_lstm point_thumb2_lstm
#else
#define POINT_IN_ONE_PASS
#endif

/* What is one pass there is several here. */
#ifdef POINT_IN_ONE_PASS
#define POINT_SIGMOIDS point_c_sigmoids
#define POINT_TANHS point_c_tanhs
#define point_gru point_c_gru
#ifndef point_lstm
#define point_lstm point_c_lstm
#endif
#else
static inline uint32_t point_lstm(int16_t *i, uint32_t n, int32_t *c,
                                  int16_t *h)
{
    int16_t *f = i + n, *o = f + n, *g = o + n;
    uint32_t clamped;

    POINT_SIGMOIDS(i, 3 * n, i);
    POINT_TANHS(g, n, g);
    clamped = POINT_CARRY(f, i, g, n, c);
    POINT_SQUASH(o, c, n, h);
    return clamped;
}

static inline uint32_t point_gru(const int16_t *z, const int16_t *s, uint32_t n,
                                 int32_t *c, int16_t *h)
{
    uint32_t clamped = POINT_CARRY(z, (void *)0, s, n, c);

    for (uint32_t u = 0; u < n; u++) {
        const int32_t h_q14 = fx_rs32(c[u], 6);
        h[u] = (int16_t)fx_narrow32(h_q14);
        clamped += h[u] != h_q14;
    }
    return clamped;
}
#endif

#endif
