/* dot_time_c.h - the products of a row's errors with two sources along the
 * tape, in portable C99: the reference for every other kernel.  Each adds to
 * sum[2] what e[n], within +-(2^31 - 1), gives with z0[n] and z1[n], which may
 * be one.  Sums are exact in 64 bits: |e z| < 2^46 and n < 2^16.
 */
#ifndef VG_DOT_TIME_C_H
#define VG_DOT_TIME_C_H

#include <stdint.h>

#include "target.h"

/* What dot_time_piece.h cuts the tape and its errors into. */
enum { DOT_HALF = 12, DOT_PIECE = 16 };

/* A source on the tape as a kernel takes pairs of them. */
#if VG_DSP
typedef int16_t dot_paired;
#else
typedef int32_t dot_paired;
#endif

/* A row's errors along the tape, columns with sources of their own, `apart`
 * from one to the next, and their gradients: g = rs(sum of e z, exp), which
 * fits. */
typedef struct {
    const int32_t *e;
    uint32_t n; /* steps */
    const int16_t *z;
    uint32_t apart;
    int32_t *g;
    uint32_t columns;
    int32_t exp;
    const dot_paired *paired; /* the sources by pairs; null: they are not */
} dot_row;

/* size: the errors of a piece, their signs left out, added up.  Then its highs,
 * one by one and added up, are below 2^15. */
static inline int dot_piece_fits(uint64_t size)
{
    return size < (uint64_t)(32767 - DOT_PIECE) << DOT_HALF;
}

static inline void dot_time_c(const int32_t *e, const int16_t *z0,
                              const int16_t *z1, uint32_t n, int64_t *sum)
{
    int64_t s0 = 0, s1 = 0;

    for (uint32_t k = 0; k < n; k++) {
        s0 += (int64_t)e[k] * z0[k];
        s1 += (int64_t)e[k] * z1[k];
    }
    sum[0] += s0;
    sum[1] += s1;
}

#endif
