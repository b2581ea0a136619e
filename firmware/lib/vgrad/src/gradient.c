/* gradient.c - what both methods need of a gate's weights: its rates, its
 * columns, and its gradient.
 */
#include "train.h"

int32_t vg_rate_of(const vg_train *t, const vg_gate *g, uint32_t part)
{
    const int32_t factor = vg_ints(t, g->factors)[part];

    if (factor <= 0 || (g->layer < 32 && (t->learn.frozen >> g->layer & 1)))
        return 0;
    return fx_sat31(fx_rs((int64_t)t->learn.rate_q24 * factor, 16));
}

VG_ONCE void vg_rates(vg_train *t)
{
    vg_gate *g = vg_gates_of(t);

    for (const vg_gate *end = g + vg_plan_of(t)->n_gates; g < end; g++)
        for (uint32_t k = 0; k < g->n_spans; k++)
            g->span[k].learns = vg_rate_of(t, g, g->span[k].part) > 0;
}

vg_columns vg_list_of(const vg_train *t, const vg_gate *g)
{
    const vg_plan *p = vg_plan_of(t);
    vg_columns columns;

    columns.list = vg_indices(t, g->letter ? p->seen : p->fresh);
    columns.count = g->letter ? p->now.n_seen : p->now.n_fresh;
    return columns;
}

const vg_sig *vg_read(const vg_sources *z, const vg_span *s)
{
    static const vg_sig one = 1;

    switch (s->reads) {
    case VG_READS_X:
        return z->x;
    case VG_READS_H:
        return z->r;
    case VG_READS_GATES:
        return z->r + (s[-1].end - s[-2].end);
    case VG_READS_ONE:
        return &one;
    default:
        return NULL;
    }
}

int32_t vg_read_own(const vg_sources *z, const vg_span *s, uint32_t u)
{
    if (s->reads == VG_READS_OWN_H)
        return z->r[u];
    return (int32_t)fx_rs((s->reads == VG_READS_OWN_C0 ? z->c0 : z->c1)[u], 6);
}

/* Most are by 1 to 31 digits. */
VG_APART int64_t vg_round(int64_t x, int n)
{
    return n >= 1 && n <= 31 ? fx_rs31(x, n) : fx_round(x, n);
}

int32_t vg_to31(int64_t x, int n)
{
    return n < 0 ? fx_to31(x, n) : fx_sat31(vg_round(x, n));
}

static void gather_span(vg_train *t, const vg_gate *g, const vg_span *s,
                        const int32_t *d, const vg_sources *sources)
{
    const uint32_t n = s->end - vg_span_begin(g, s);
    const vg_sig *z = vg_read(sources, s);

    for (uint32_t row = 0; row < g->rows; row++) {
        int32_t *into = vg_ints(t, g->g) + vg_row_at(g, s, g->rows, row);
        if (!d[row])
            continue;
        if (vg_reads_own(s))
            vg_set(t, into,
                   *into +
                       fx_round((int64_t)d[row] * vg_read_own(sources, s, row),
                                s->exp));
        else if (VG_HAS_SYMBOLS && !z)
            vg_set(t, &into[sources->symbol],
                   (int64_t)into[sources->symbol] + d[row]);
        for (uint32_t j = 0; z && j < n; j++)
            vg_set(t, &into[j],
                   into[j] + fx_rs31(2 * (int64_t)d[row] * z[j], s->exp + 1));
    }
}

void vg_gather(vg_train *t, const vg_gate *g, const int32_t *d,
               const vg_sources *sources)
{
    for (const vg_span *s = g->span; s < g->span + g->n_spans; s++)
        if (s->learns)
            gather_span(t, g, s, d, sources);
}

void vg_note(const vg_train *t, uint32_t list, uint32_t mark, uint32_t *n,
             uint32_t symbol)
{
    uint16_t *marks = vg_indices(t, mark);

    if (marks[symbol])
        return;
    vg_indices(t, list)[(*n)++] = (uint16_t)symbol;
    marks[symbol] = (uint16_t)*n;
}

void vg_forget(const vg_train *t, uint32_t list, uint32_t mark, uint32_t *n)
{
    for (uint32_t k = 0; k < *n; k++)
        vg_indices(t, mark)[vg_indices(t, list)[k]] = 0;
    *n = 0;
}
