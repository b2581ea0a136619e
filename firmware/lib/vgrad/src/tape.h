/* tape.h - a row of a gate along the tape of TBPTT: what tbptt_gradient.c and
 * tbptt_columns.c do for each other.
 */
#ifndef VG_TAPE_H
#define VG_TAPE_H

#include "train.h"

/* A row's errors along the tape. */
typedef struct {
    const vg_gate *g;
    int32_t *errors;
    uint32_t row, n;
    uint64_t size; /* of the errors, signs left out, added up */
    int cut;       /* are they ready for DOT_TIME_PIECE? */
} vg_row;

/* Columns that have sources of their own on the tape. */
typedef struct {
    const vg_sig *z;
    uint32_t apart;
    int32_t *g; /* the first one's gradient */
    uint32_t n; /* of them */
    int exp;    /* of the sources */
} vg_row_columns;

/* How large are the errors?  Make them ready for the kernels of this machine:
 * exp is the least of the columns' to come. */
void vg_row_measure(vg_row *r, uint32_t k2, int exp);

/* The gradient of a row that has been measured. */
void vg_columns_gradient(vg_train *t, const vg_row *r, const vg_row_columns *c);

/* *g = sat31(rs(sum, exp)), counted where it does not fit. */
static inline void vg_keep(vg_train *t, int32_t *g, int64_t sum, int exp)
{
    const int64_t exact = fx_round(sum, exp);

    *g = fx_sat31(exact);
    t->saturated += *g != exact;
}

#endif
