/* tape.h - a row of a gate along the tape of TBPTT: what tbptt_gradient.c and
 * tbptt_columns.c do for each other.
 */
#ifndef VG_TAPE_H
#define VG_TAPE_H

#include "dot_time_c.h"
#include "train.h"

/* A row's errors along the tape. */
typedef struct {
    const vg_gate *g;
    int32_t *errors;
    uint32_t row, n; /* n: steps */
    int64_t sum;     /* of the errors */
    uint64_t size;   /* no less than that without their signs */
    int fits;        /* may all pieces be cut?  Then n is even */
    /* gradients up to here do not overwrite paired sources */
    const int32_t *limit;
} vg_row;

/* A layer's sources on the tape by pairs of columns, where the last of its
 * gradients will be; null where there is no kernel for that.  Of one column
 * *steps. */
dot_paired *vg_pair_sources(const vg_train *t, const vg_layer *l,
                            const vg_net *net, uint32_t *steps);

/* How large are the errors? */
void vg_row_measure(vg_row *r, uint32_t k2);

/* The gradient of columns of a row that has been measured. */
void vg_columns_gradient(vg_train *t, const vg_row *r, const dot_row *c);

/* *g = sat31(rs(sum, exp)), counted where it does not fit. */
static inline void vg_keep(vg_train *t, int32_t *g, int64_t sum, int exp)
{
    vg_set(t, g, vg_round(sum, exp));
}

#endif
