/* dot_rows.h - errors back through the rows of gates, to the sources of
 * neighbouring columns: the kernel of this machine, by the compiler's own
 * macros.  VG_PORTABLE and VG_FAST=0 ask for none.
 *
 * DOT_ROWS_SUMS takes DOT_ROWS_COLUMNS columns from j on of up to 15 gates.  It
 * adds to sum[] of each column what rs(sum over rows of w e, shift) is for
 * every gate, or says by 0 that one of these may be beyond +-2^27: then sum[]
 * is whatever.  It may be asked where DOT_ROWS_FIT says of each gate that its
 * errors and its shift allow it.
 *
 * DOT_ROWS_ALL, if there is one, adds to dz[n] what n columns are, as
 * transposed.c has it, of as many as it can, which it returns.
 *
 * DOT_ROWS_PACKS: a kernel is faster with weights that are packed beforehand;
 * not where code is to be small.
 */
#ifndef VG_DOT_ROWS_H
#define VG_DOT_ROWS_H

#include <string.h>

#include "fx.h"
#include "options.h"

/* A gate, w at the first of the columns.  Errors are within +-(2^31 - 1) and
 * rows fewer than 2^16, so that sums are exact in 64 bits. */
typedef struct {
    const int16_t *w;
    const int32_t *e;
    uint32_t rows, stride;
    int shift;
} dot_rows;

/* Adds to sum[n] those of n columns from j on, not rounded. */
static inline void dot_rows_c(const dot_rows *r, uint32_t j, uint32_t n,
                              int64_t *sum)
{
    const int16_t *w = r->w + j;

    for (uint32_t row = 0; row < r->rows; row++, w += r->stride)
        for (uint32_t k = 0; k < n; k++)
            sum[k] += fx_product(r->e[row], w[k]);
}

#if VG_LEARNS_FAST && VG_DSP && !defined(__OPTIMIZE_SIZE__)
#include "dot_rows_dsp.h"
#define DOT_ROWS_PACKS
#endif

#if !VG_LEARNS_FAST
#elif VG_THUMB2
#include "dot_rows_mul.h"
#define DOT_ROWS_FIT dot_rows_mul_fit
#define DOT_ROWS_SUMS dot_rows_mul
#define DOT_ROWS_COLUMNS 4
#elif VG_THUMB1
#include "dot_rows_m0.h"
#define DOT_ROWS_FIT dot_rows_m0_fit
#define DOT_ROWS_SUMS dot_rows_m0
#define DOT_ROWS_COLUMNS 2
#elif defined(__AVX2__) && !defined(VG_PORTABLE)
#include "dot_rows_avx2.h"
#include "dot_rows_pairs_avx2.h"
#define DOT_ROWS_ALL dot_pairs_avx2
#define DOT_ROWS_FIT dot_rows_avx2_fit
#define DOT_ROWS_SUMS dot_rows_avx2
#define DOT_ROWS_COLUMNS 4
#endif

#endif
