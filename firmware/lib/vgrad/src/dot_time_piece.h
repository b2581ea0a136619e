/* dot_time_piece.h - products along a piece of at most 16 steps of the tape, in
 * 32 bits: e = 2^12 high + low with 0 <= low < 2^12, so that 16 products of a
 * low by |z| <= 2^15 stay below 2^31 - 2^18.  Those of the highs do, too, if
 * the errors are small enough: dot_piece_fits.  In portable C99 the reference
 * for the kernels that need it: cores without a long multiplication, and those
 * that multiply two pairs of 16 bits at once.
 */
#ifndef VG_DOT_TIME_PIECE_H
#define VG_DOT_TIME_PIECE_H

#include "dot_time_c.h"
#include "fx.h"

enum { DOT_HALF = 12, DOT_PIECE = 16 };

/* The sums of two sources: 2^12 high + low. */
typedef struct {
    int32_t low[2], high[2];
} dot_piece;

/* size: the errors of a piece, their signs left out, added up.  Then its highs,
 * one by one and added up, are below 2^15. */
static inline int dot_piece_fits(uint64_t size)
{
    return size < (uint64_t)(32767 - DOT_PIECE) << DOT_HALF;
}

/* rs(2^12 high + low, exp), exp in 12..14, by two floors. */
static inline int32_t dot_piece_rs(int32_t high, int32_t low, int exp)
{
    high += fx_floor32(low + (1 << (exp - 1)), DOT_HALF);
    return fx_floor32(high, exp - DOT_HALF);
}

static inline void dot_time_piece(const int32_t *e, const int16_t *z0,
                                  const int16_t *z1, uint32_t n, dot_piece *s)
{
    s->low[0] = s->low[1] = s->high[0] = s->high[1] = 0;
    for (uint32_t k = 0; k < n; k++) {
        const int32_t high = fx_floor32(e[k], DOT_HALF);
        const int32_t low = e[k] & ((1 << DOT_HALF) - 1);
        s->low[0] += low * z0[k];
        s->low[1] += low * z1[k];
        s->high[0] += high * z0[k];
        s->high[1] += high * z1[k];
    }
}

#endif
