/* rtrl97.c - the truncated real-time recurrent learning of Hochreiter and
 * Schmidhuber 1997: a trace for every weight that acts on a cell's c, so that
 * the arena does not grow with the lag.
 */
#include <string.h>

#include "train.h"

/* What the last step read: x is where the run has it. */
static vg_sources sources_of(const vg_train *t, const vg_input *x)
{
    const vg_layer *l = vg_run_layers(&t->run);
    vg_sources z;

    z.x = vg_run_signals(&t->run, l->z);
    z.r = vg_sigs(t, vg_nets_of(t)->r0);
    z.c0 = vg_ints(t, vg_nets_of(t)->c0);
    z.c1 = vg_run_c(&t->run, l);
    z.symbol = x->symbol;
    return z;
}

static vg_left left_of(const vg_train *t, const vg_sig *values)
{
    const vg_layer *l = vg_run_layers(&t->run);
    vg_left left;

    left.values = values;
    left.h0 = NULL;
    left.h1 = vg_run_r(&t->run, l);
    left.c0 = vg_ints(t, vg_nets_of(t)->c0);
    left.c1 = vg_run_c(&t->run, l);
    return left;
}

/* Where a span's part of the first cell's trace is, and from cell to cell how
 * far apart. */
static int32_t *traces_of(const vg_train *t, const vg_gate *g, const vg_span *s,
                          uint32_t *apart)
{
    *apart = s->part == VG_BIAS ? 1 : g->columns;
    return vg_ints(t, g->traces) +
           vg_row_at(g, s, vg_run_layers(&t->run)->n, 0);
}

/* e' = f e + C z for a span of all cells' traces. */
static void trace_span(vg_train *t, const vg_gate *g, const vg_span *s,
                       const vg_sources *sources, const vg_sig *values)
{
    const vg_layer *l = vg_run_layers(&t->run);
    const vg_columns columns = vg_listed(t, g, s);
    const vg_sig *z = vg_read(sources, s);
    const int32_t *c = vg_ints(t, g->derivatives);
    const int shift = 4 + (s->reads == VG_READS_SYMBOL ? 0 : s->exp);
    const int own = vg_reads_own(s);
    fx_clamps k = {0, 0};
    uint32_t apart;
    int32_t *trace = traces_of(t, g, s, &apart);

    for (uint32_t b = 0, u = 0; u < l->n; b++) {
        const int32_t keep = vg_kept(l, values, b);
        for (const uint32_t end = u + vg_block_of(l); u < end;
             u++, trace += apart)
            for (uint32_t i = 0; i < columns.count; i++) {
                const uint32_t j = vg_column(&columns, i);
                const int32_t source = z     ? z[j]
                                       : own ? vg_read_own(sources, s, u)
                                             : j == sources->symbol;
                trace[j] = fx_sat30(fx_rs((int64_t)keep * trace[j], 14) +
                                        fx_rs((int64_t)c[u] * source, shift),
                                    &k);
            }
    }
    t->saturated += k.low + k.high;
}

void vg_rtrl97_before(vg_train *t)
{
    const vg_layer *l = vg_run_layers(&t->run);
    const vg_net *net = vg_nets_of(t);

    memcpy(vg_at(t, net->r0), vg_run_r(&t->run, l),
           2 * (size_t)(l->n_z - l->n_in));
    if (net->c0)
        memcpy(vg_at(t, net->c0), vg_run_c(&t->run, l), 4 * (size_t)l->n_c);
}

void vg_rtrl97_after(vg_train *t, const vg_input *x, const vg_sig *values)
{
    const vg_layer *l = vg_run_layers(&t->run);
    const vg_net *net = vg_nets_of(t);
    vg_plan *p = vg_plan_of(t);
    const vg_sources z = sources_of(t, x);
    const vg_left left = left_of(t, values);

    if (!x->x)
        vg_note(t, p->seen, p->seen_mark, &p->now.n_seen, x->symbol);
    vg_derive(t, l, net, &left);
    for (uint32_t k = 0; k < l->n_gates; k++) {
        const vg_gate *g = vg_gates_of(t) + k;
        for (uint32_t i = 0; g->traces && i < g->n_spans; i++)
            if (g->span[i].learns)
                trace_span(t, g, &g->span[i], &z, values);
    }
}

/* G += the errors of a row's cells times their traces. */
static void gather_traces(vg_train *t, const vg_gate *g, const vg_span *s,
                          const int32_t *dc)
{
    const vg_columns columns = vg_listed(t, g, s);
    const uint32_t cells = vg_run_layers(&t->run)->n / g->rows;
    uint32_t apart;
    const int32_t *trace = traces_of(t, g, s, &apart);

    for (uint32_t row = 0; row < g->rows; row++) {
        int32_t *into = vg_ints(t, g->g) + vg_row_at(g, s, g->rows, row);
        for (uint32_t i = 0; i < columns.count; i++) {
            const uint32_t j = vg_column(&columns, i);
            int64_t d = 0;
            for (uint32_t u = 0; u < cells; u++)
                d += fx_rs((int64_t)dc[u] * trace[u * apart + j], 20);
            vg_set(t, &into[j], into[j] + d);
        }
        trace += cells * apart;
        dc += cells;
    }
}

void vg_rtrl97_step(vg_train *t, const vg_input *x, const int32_t *dh)
{
    const vg_layer *l = vg_run_layers(&t->run);
    const vg_net *net = vg_nets_of(t);
    const vg_sources z = sources_of(t, x);
    const vg_left left = left_of(t, vg_run_values(&t->run));

    memcpy(vg_ints(t, net->dh), dh, 4 * (size_t)l->n);
    memset(vg_ints(t, net->dc), 0, 4 * (size_t)l->n);
    vg_step_back(t, l, net, &left);
    for (uint32_t k = 0; k < l->n_gates; k++) {
        const vg_gate *g = vg_gates_of(t) + k;
        if (!g->traces)
            vg_gather(t, g, vg_ints(t, g->errors), &z);
        for (uint32_t i = 0; g->traces && i < g->n_spans; i++)
            if (g->span[i].learns)
                gather_traces(t, g, &g->span[i], vg_ints(t, net->dc));
    }
}

static void forget_traces(const vg_train *t, const vg_gate *g, const vg_span *s)
{
    const vg_columns columns = vg_listed(t, g, s);
    uint32_t apart;
    int32_t *trace = traces_of(t, g, s, &apart);

    for (uint32_t u = 0; u < vg_run_layers(&t->run)->n; u++, trace += apart)
        for (uint32_t i = 0; i < columns.count; i++)
            trace[vg_column(&columns, i)] = 0;
}

void vg_rtrl97_reset(vg_train *t)
{
    vg_plan *p = vg_plan_of(t);
    const uint32_t n_gates = vg_run_layers(&t->run)->n_gates;

    for (uint32_t k = 0; k < n_gates; k++) {
        const vg_gate *g = vg_gates_of(t) + k;
        for (uint32_t i = 0; g->traces && i < g->n_spans; i++)
            forget_traces(t, g, &g->span[i]);
    }
    if (vg_on_symbols(t))
        vg_forget(t, p->seen, p->seen_mark, &p->now.n_seen);
}
