/* transposed.c - errors of arguments back through the weights, to the sources:
 * q_j = sum over gates of sat31(rs(sum over rows of w e, E - e_j)).
 */
#include "dot_rows.h"
#include "train.h"

enum { COLUMNS = VG_LEARNS_FAST ? 4 : 1 }; /* at once */

/* Those of the gates that have such a span.  Returns how many. */
static uint32_t rows_of(const vg_train *t, const vg_gate *g, uint32_t n_gates,
                        vg_reads reads, dot_rows *r)
{
    const dot_rows *const first = r;

    for (const vg_gate *end = g + n_gates; g < end; g++) {
        const vg_span *s = vg_span_of(g, reads);
        if (!s)
            continue;
        r->w = vg_sigs(t, g->weights) + vg_span_begin(g, s);
        r->e = vg_ints(t, g->errors);
        r->rows = g->rows;
        r->stride = vg_gate_stride(g);
        r->shift = vg_exp_of(t, g) - s->exp;
        r++;
    }
    return (uint32_t)(r - first);
}

/* dz[n] += the errors of up to four columns from j on. */
static VG_APART void any_columns(const dot_rows *r, const dot_rows *end,
                                 uint32_t j, uint32_t n, int32_t *dz)
{
    int64_t back[COLUMNS] = {0, 0, 0, 0};

    for (; r < end; r++) {
        int64_t sum[COLUMNS] = {0, 0, 0, 0};
        dot_rows_c(r, j, n, sum);
        for (uint32_t k = 0; k < n; k++)
            back[k] += vg_to31(sum[k], r->shift);
    }
    for (uint32_t k = 0; k < n; k++)
        dz[k] = fx_sat31(dz[k] + back[k]);
}

#ifdef DOT_ROWS_SUMS
/* The same by the kernel: how many columns from j on of n it did.  Where fewer
 * are left than it takes, it takes some before them, too. */
static uint32_t kernel_columns(const dot_rows *r, const dot_rows *end,
                               uint32_t j, uint32_t n, int32_t *dz)
{
    const uint32_t from = j + DOT_ROWS_COLUMNS > n ? n - DOT_ROWS_COLUMNS : j;
    int32_t sum[DOT_ROWS_COLUMNS];

    for (uint32_t k = 0; k < DOT_ROWS_COLUMNS; k++)
        sum[k] = 0;
    if (!DOT_ROWS_SUMS(r, end, from, sum))
        return 0;
    for (uint32_t k = j - from; k < DOT_ROWS_COLUMNS; k++, dz++)
        *dz = fx_sat31((int64_t)*dz + sum[k]);
    return from + DOT_ROWS_COLUMNS - j;
}

static int takes(const dot_rows *r, const dot_rows *end, uint32_t n)
{
    for (; r < end; r++)
        if (!DOT_ROWS_FIT(r))
            return 0;
    return n >= DOT_ROWS_COLUMNS;
}
#endif

void vg_transposed(const vg_train *t, const vg_gate *g, uint32_t n_gates,
                   vg_reads reads, uint32_t n, int32_t *dz)
{
    dot_rows rows[VG_MAX_GATES];
    const dot_rows *end;
    uint32_t j = 0;

    if (!n)
        return;
    end = rows + rows_of(t, g, n_gates, reads, rows);
#ifdef DOT_ROWS_SUMS
    if (end > rows && takes(rows, end, n))
        for (uint32_t more = 1; more && j < n; j += more)
            more = kernel_columns(rows, end, j, n, dz + j);
#endif
    for (uint32_t more; j < n; j += more) {
        more = n - j < COLUMNS ? n - j : COLUMNS;
        any_columns(rows, end, j, more, dz + j);
    }
}
