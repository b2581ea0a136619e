/* transposed.c - errors of arguments back through the weights, to the sources:
 * q_j = sum over gates of sat31(rs(sum over rows of w e, E - e_j)).
 */
#include "dot_rows.h"
#include "train.h"

enum { COLUMNS = VG_LEARNS_FAST ? 4 : 1 }; /* at once */

#ifdef DOT_ROWS_PACKS
enum { PACKED_STEPS = 4 }; /* back, from which on packing pays */

static int packs(const vg_train *t)
{
    return vg_plan_of(t)->now.tape_len >= PACKED_STEPS;
}

/* While errors flow back there are no gradients yet.  In their place a gate of
 * a layer has its errors, cut, and behind them its weights, packed, which are
 * half as many. */
static int has_packed(const vg_gate *g)
{
    return g->letter && g->rows >= 4 && g->columns >= 8;
}

static uint32_t *cut_of(const vg_train *t, const vg_gate *g)
{
    return vg_at(t, g->g);
}

/* Of a span the columns by two. */
static uint32_t *packed_of(const vg_train *t, const vg_gate *g,
                           const vg_span *s)
{
    const uint32_t rows = dot_rows_fours(g->rows);

    return cut_of(t, g) + rows + rows / 2 * vg_span_begin(g, s);
}

static void pack_span(const vg_train *t, const vg_gate *g, const vg_span *s)
{
    uint32_t *to = packed_of(t, g, s);
    const uint32_t begin = vg_span_begin(g, s);
    const vg_sig *w = vg_sigs(t, g->weights) + begin;

    for (uint32_t n = (s->end - begin) / 2; n; n--, w += 2)
        to = dot_rows_pack(w, g->rows, vg_gate_stride(g), to);
}

void vg_pack(const vg_train *t, const vg_gate *g, uint32_t n_gates, int below)
{
    for (const vg_gate *end = g + n_gates; g < end; g++) {
        const vg_span *s = g->span, *last = s + g->n_spans;
        for (; packs(t) && has_packed(g) && s < last; s++)
            if (vg_on_tape(s) && (below || s->reads != VG_READS_X))
                pack_span(t, g, s);
    }
}

void vg_unpack(const vg_train *t, const vg_gate *g, uint32_t n_gates)
{
    for (const vg_gate *end = g + n_gates; g < end; g++)
        if (packs(t) && has_packed(g) && vg_span_of(g, VG_READS_SYMBOL))
            memset(vg_ints(t, g->g), 0, 4 * (size_t)g->rows * vg_in_row(g));
}

static int all_zero(const int32_t *dz, uint32_t n)
{
    int32_t any = 0;

    for (const int32_t *end = dz + n; dz < end; dz++)
        any |= *dz;
    return !any;
}

/* dz[n] += the errors, n even, by packed weights.  0: these may not be right.
 */
static int by_packed(const vg_train *t, const vg_gate *g, uint32_t n_gates,
                     vg_reads reads, uint32_t n, int32_t *dz)
{
    dot_rows_clear_q();
    for (const vg_gate *end = g + n_gates; g < end; g++) {
        const vg_span *s = vg_span_of(g, reads);
        dot_rows_halves h;
        if (!s)
            continue;
        h.shift = vg_exp_of(t, g) - s->exp;
        if (!has_packed(g) || h.shift <= DOT_ROWS_HALF || h.shift > 31)
            return 0;
        h.e = vg_ints(t, g->errors);
        h.cut = cut_of(t, g);
        h.cut_end = h.cut + dot_rows_fours(g->rows);
        h.w = packed_of(t, g, s);
        h.out = dz;
        h.end = dz + n;
        dot_rows_dsp_gate(&h);
    }
    return !dot_rows_q();
}

/* dz[n] += the errors of how many columns? */
static uint32_t packed_columns(const vg_train *t, const vg_gate *g,
                               uint32_t n_gates, vg_reads reads, uint32_t n,
                               int32_t *dz)
{
    n &= ~(uint32_t)1;
    if (!n || !g->letter || !packs(t) || n_gates > DOT_ROWS_MOST_GATES ||
        !all_zero(dz, n))
        return 0;
    if (by_packed(t, g, n_gates, reads, n, dz))
        return n;
    memset(dz, 0, 4 * (size_t)n);
    return 0;
}
#else
void vg_pack(const vg_train *t, const vg_gate *g, uint32_t n_gates, int below)
{
    (void)t, (void)g, (void)n_gates, (void)below;
}

void vg_unpack(const vg_train *t, const vg_gate *g, uint32_t n_gates)
{
    (void)t, (void)g, (void)n_gates;
}
#endif

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
    int64_t back[COLUMNS] = {0};

    for (; r < end; r++) {
        int64_t sum[COLUMNS] = {0};
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

#ifdef DOT_ROWS_PACKS
    j = packed_columns(t, g, n_gates, reads, n, dz);
#endif
    if (j == n)
        return;
    end = rows + rows_of(t, g, n_gates, reads, rows);
#ifdef DOT_ROWS_ALL
    if (end > rows)
        j = DOT_ROWS_ALL(rows, end, n, dz);
#endif
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
