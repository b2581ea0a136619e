/* dot_time_piece_c.h - a piece in portable C99: the reference for the kernels
 * that take one.
 */
#ifndef VG_DOT_TIME_PIECE_C_H
#define VG_DOT_TIME_PIECE_C_H

#include "dot_time_piece.h"

static inline void dot_time_piece_c(const int32_t *e, const int16_t *z0,
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
