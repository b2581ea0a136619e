/* dot_time_piece.h - products along a piece of at most 16 steps of the tape, in
 * 32 bits: e = 2^12 high + low with 0 <= low < 2^12, so that 16 products of a
 * low by |z| <= 2^15 stay below 2^31 - 2^18.  Those of the highs do, too, if
 * the errors are small enough: dot_piece_fits.  For cores without a long
 * multiplication, and those that multiply two pairs of 16 bits at once.
 */
#ifndef VG_DOT_TIME_PIECE_H
#define VG_DOT_TIME_PIECE_H

#include "dot_time_c.h"
#include "fx.h"

/* The sums of two sources: 2^12 high + low. */
typedef struct {
    int32_t low[2], high[2];
} dot_piece;

#endif
