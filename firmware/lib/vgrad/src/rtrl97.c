/* rtrl97.c - the truncated real-time recurrent learning of Hochreiter and
 * Schmidhuber 1997: a trace for every weight that acts on a cell's c, so that
 * the arena does not grow with the lag.
 */
#include <string.h>

#include "train.h"

/* The columns of a span that can have a trace. */
static vg_columns traced(const vg_train *t, const vg_gate *g, const vg_span *s)
{
    const vg_plan *p = vg_plan_of(t);
    vg_columns columns = vg_span_columns(g, s);

    if (s->symbols) {
        columns.list = vg_indices(t, p->seen);
        columns.count = p->now.n_seen;
    }
    return columns;
}

static int32_t *trace_biases(const vg_train *t, const vg_gate *g, uint32_t n)
{
    return vg_ints(t, g->traces) + n * g->columns;
}

/* e' = f e + C z for one cell's trace of one gate. */
static void trace_cell(vg_train *t, const vg_gate *g, const vg_input *x,
                       uint32_t u, int32_t f)
{
    const int32_t c = vg_ints(t, g->derivatives)[u];
    const vg_sig *z = vg_sigs(t, vg_nets_of(t)->z);
    int32_t *trace = vg_ints(t, g->traces) + u * g->columns;
    fx_clamps k = {0, 0};

    for (const vg_span *s = g->span; s < g->span + g->n_spans; s++) {
        const vg_columns columns = traced(t, g, s);
        if (!vg_rate_of(t, g, s->part))
            continue;
        for (uint32_t i = 0; i < columns.count; i++) {
            const uint32_t j = vg_column(&columns, i);
            const int32_t source = !s->symbols      ? z[j]
                                   : j == x->symbol ? x->one
                                                    : 0;
            trace[j] = fx_sat30(fx_rs((int64_t)f * trace[j], 14) +
                                    fx_rs((int64_t)c * source, 4 + s->exp),
                                &k);
        }
    }
    if (g->biases && vg_rate_of(t, g, VG_BIAS)) {
        int32_t *e = &trace_biases(t, g, vg_run_layers(&t->run)->n)[u];
        *e = fx_sat30(fx_rs((int64_t)f * *e, 14) + fx_rs(c, 4), &k);
    }
    t->saturated += k.low + k.high;
}

void vg_rtrl97_record(vg_train *t, const vg_input *x, const vg_sig *values)
{
    const vg_layer *l = vg_run_layers(&t->run);
    const vg_net *net = vg_nets_of(t);
    vg_plan *p = vg_plan_of(t);
    const vg_sig *f =
        l->fields & VG_FORGET_GATE ? values + l->n / l->block : NULL;

    if (!x->x)
        vg_note(t, p->seen, p->seen_mark, &p->now.n_seen, x->symbol);
    vg_derive(t, l, net, values, vg_ints(t, net->c0), vg_run_c(&t->run, l),
              vg_run_r(&t->run, l));
    for (uint32_t k = 0; k < l->n_gates; k++) {
        const vg_gate *g = vg_gates_of(t) + k;
        for (uint32_t b = 0, u = 0; g->traces && u < l->n; b++)
            for (const uint32_t end = u + l->block; u < end; u++)
                trace_cell(t, g, x, u, f ? f[b] : VG_ONE);
    }
}

/* G += the errors of a row's cells times their traces. */
static void gather_traces(vg_train *t, const vg_gate *g, const int32_t *dc,
                          uint32_t row, uint32_t cells)
{
    const uint32_t first = row * cells;
    const int32_t *trace = vg_ints(t, g->traces) + first * g->columns;
    const int32_t *trace_bias =
        trace_biases(t, g, vg_run_layers(&t->run)->n) + first;
    int32_t *into = vg_ints(t, g->g) + row * g->columns;
    int64_t sum = 0;

    for (const vg_span *s = g->span; s < g->span + g->n_spans; s++) {
        const vg_columns columns = traced(t, g, s);
        if (!vg_rate_of(t, g, s->part))
            continue;
        for (uint32_t i = 0; i < columns.count; i++) {
            const uint32_t j = vg_column(&columns, i);
            int64_t d = 0;
            for (uint32_t u = 0; u < cells; u++)
                d += fx_rs((int64_t)dc[first + u] * trace[u * g->columns + j],
                           20);
            vg_add(t, &into[j], d);
        }
    }
    if (!g->biases || !vg_rate_of(t, g, VG_BIAS))
        return;
    for (uint32_t u = 0; u < cells; u++)
        sum += fx_rs((int64_t)dc[first + u] * trace_bias[u], 20);
    vg_add(t, &vg_biases_of(t, g, g->g)[row], sum);
}

void vg_rtrl97_step(vg_train *t, const vg_input *x, const int32_t *dh)
{
    const vg_layer *l = vg_run_layers(&t->run);
    const vg_net *net = vg_nets_of(t);

    memcpy(vg_ints(t, net->dh), dh, 4 * (size_t)l->n);
    memset(vg_ints(t, net->dc), 0, 4 * (size_t)l->n);
    vg_step_back(t, l, net, vg_run_c(&t->run, l), vg_run_r(&t->run, l));
    for (uint32_t k = 0; k < l->n_gates; k++) {
        const vg_gate *g = vg_gates_of(t) + k;
        for (uint32_t row = 0; row < g->rows; row++)
            if (g->traces)
                gather_traces(t, g, vg_ints(t, net->dc), row, l->n / g->rows);
            else
                vg_gather(t, g, row, vg_ints(t, g->errors)[row],
                          vg_sigs(t, net->z), x->symbol);
    }
}

void vg_rtrl97_reset(vg_train *t)
{
    vg_plan *p = vg_plan_of(t);
    const vg_layer *l = vg_run_layers(&t->run);

    for (uint32_t k = 0; k < l->n_gates; k++) {
        const vg_gate *g = vg_gates_of(t) + k;
        int32_t *trace = vg_ints(t, g->traces);
        for (uint32_t u = 0; g->traces && u < l->n; u++, trace += g->columns) {
            for (const vg_span *s = g->span; s < g->span + g->n_spans; s++) {
                const vg_columns columns = traced(t, g, s);
                for (uint32_t i = 0; i < columns.count; i++)
                    trace[vg_column(&columns, i)] = 0;
            }
            if (g->biases)
                trace_biases(t, g, l->n)[u] = 0;
        }
    }
    if (t->learn.flags & VG_SYMBOLS)
        vg_forget(t, p->seen, p->seen_mark, &p->now.n_seen);
}
