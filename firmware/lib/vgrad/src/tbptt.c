/* tbptt.c - truncated backpropagation through time.  The tape holds the newest
 * k2 steps, everything in the order [what][step], so that a gradient is one
 * exact sum along the tape.
 */
#include <string.h>

#include "train.h"

/* ---- onto the tape -------------------------------------------------- */

void vg_tbptt_record(vg_train *t, uint32_t layer, const vg_sig *values)
{
    const vg_layer *l = vg_run_layers(&t->run) + layer;
    const vg_net *net = vg_nets_of(t) + layer;
    const vg_gate *gate = vg_gates_of(t) + net->first;
    const uint32_t k2 = t->learn.k2, at = vg_plan_of(t)->now.tape_at;
    const vg_sig *z = vg_sigs(t, net->z), *h = vg_run_r(&t->run, l);

    for (uint32_t j = net->skipped; j < l->n_z; j++)
        vg_sigs(t, net->z_tape)[(j - net->skipped) * k2 + at] = z[j];
    for (uint32_t u = 0; u < l->n_c; u++)
        vg_ints(t, net->c_tape)[u * k2 + at] = vg_ints(t, net->c0)[u];
    for (uint32_t u = 0; net->h_tape && u < l->n; u++)
        vg_sigs(t, net->h_tape)[u * k2 + at] = h[u];
    for (uint32_t k = 0; k < l->n_gates; k++, gate++)
        for (uint32_t row = 0; gate->gates_tape && row < gate->rows; row++)
            vg_sigs(t, gate->gates_tape)[row * k2 + at] = *values++;
}

void vg_tbptt_step(vg_train *t, const vg_input *x, const int32_t *dh)
{
    vg_plan *p = vg_plan_of(t);
    const uint32_t k2 = t->learn.k2, at = p->now.tape_at;
    const uint32_t n = vg_run_layers(&t->run)[t->model.n_layers - 1].n;

    for (uint32_t u = 0; u < n; u++)
        vg_ints(t, p->dh_tape)[u * k2 + at] = dh ? dh[u] : 0;
    if (!x->x)
        vg_indices(t, p->symbol_tape)[at] = (uint16_t)x->symbol;
    p->now.tape_at = at + 1 < k2 ? at + 1 : 0;
    if (p->now.tape_len < k2)
        p->now.tape_len++;
}

/* ---- back along it -------------------------------------------------- */

/* What a layer's step at `at` left, off the tape into net's vectors.  c and h
 * after it are those before the next step, or the run's own after the newest.
 */
static void recall(vg_train *t, const vg_layer *l, const vg_net *net,
                   uint32_t at, uint32_t next, int newest)
{
    const vg_gate *gate = vg_gates_of(t) + net->first;
    const uint32_t k2 = t->learn.k2;
    vg_sig *values = vg_sigs(t, net->values);
    vg_sig *h = vg_sigs(t, net->h);
    int32_t *c0 = vg_ints(t, net->c0), *c1 = vg_ints(t, net->c1);

    for (uint32_t k = 0; k < l->n_gates; k++, gate++)
        for (uint32_t row = 0; gate->gates_tape && row < gate->rows; row++)
            *values++ = vg_sigs(t, gate->gates_tape)[row * k2 + at];
    for (uint32_t u = 0; u < l->n_c; u++) {
        const int32_t *c = vg_ints(t, net->c_tape) + u * k2;
        c0[u] = c[at];
        c1[u] = newest ? vg_run_c(&t->run, l)[u] : c[next];
    }
    for (uint32_t u = 0; u < l->n; u++) {
        if (newest)
            h[u] = vg_run_r(&t->run, l)[u];
        else if (net->h_tape)
            h[u] = vg_sigs(t, net->h_tape)[u * k2 + at];
        else
            h[u] = vg_sigs(
                t, net->z_tape)[(l->n_in - net->skipped + u) * k2 + next];
    }
}

/* The error of c in the step before: dc f. */
static void carry_back(vg_train *t, const vg_layer *l, const vg_net *net)
{
    const vg_sig *f = vg_sigs(t, net->values) + l->n / l->block;
    int32_t *dc = vg_ints(t, net->dc);

    if (!l->n_c || !(l->fields & VG_FORGET_GATE))
        return;
    for (uint32_t b = 0, u = 0; u < l->n; b++)
        for (const uint32_t end = u + l->block; u < end; u++)
            dc[u] = fx_to31((int64_t)dc[u] * f[b], 14);
}

/* One layer, one step: from the error of h that came from above. */
static void layer_back(vg_train *t, uint32_t layer, const int32_t *above,
                       uint32_t stride, uint32_t at)
{
    const vg_layer *l = vg_run_layers(&t->run) + layer;
    const vg_net *net = vg_nets_of(t) + layer;
    const vg_gate *gates = vg_gates_of(t) + net->first;
    const uint32_t k2 = t->learn.k2;
    const int recurrent = l->n_z > l->n_in;
    int32_t *dr = vg_ints(t, net->dr);

    for (uint32_t u = 0; u < l->n; u++)
        vg_ints(t, net->dh)[u] = fx_sat31((int64_t)above[u * stride] +
                                          (recurrent ? dr[l->n_in + u] : 0));
    vg_derive(t, l, net, vg_sigs(t, net->values), vg_ints(t, net->c0),
              vg_ints(t, net->c1), vg_sigs(t, net->h));
    vg_step_back(t, l, net, vg_ints(t, net->c1), vg_sigs(t, net->h));
    carry_back(t, l, net);
    for (uint32_t k = 0; k < l->n_gates; k++)
        for (uint32_t row = 0; row < gates[k].rows; row++)
            vg_ints(t, gates[k].errors_tape)[row * k2 + at] =
                vg_ints(t, gates[k].errors)[row];
    vg_transposed(t, gates, l->n_gates, layer ? 0 : l->n_in, l->n_z, dr);
}

/* ---- gradients ------------------------------------------------------ */

static void keep(vg_train *t, int32_t *g, int64_t sum, int exp)
{
    const int64_t exact = fx_round(sum, exp);

    *g = fx_sat31(exact);
    t->saturated += *g != exact;
}

/* Chain the steps on the tape by their symbols: seen_mark[s] is 1 + the last of
 * them, next[] leads on. */
static void chain_symbols(vg_train *t, vg_plan *p)
{
    uint16_t *head = vg_indices(t, p->seen_mark);

    p->now.n_seen = 0;
    for (uint32_t k = 0; k < p->now.tape_len; k++) {
        const uint16_t s = vg_indices(t, p->symbol_tape)[k];
        if (!head[s])
            vg_indices(t, p->seen)[p->now.n_seen++] = s;
        vg_indices(t, p->next)[k] = head[s];
        head[s] = (uint16_t)(k + 1);
    }
}

static void span_gradient(vg_train *t, const vg_gate *g, const vg_net *net,
                          const vg_span *s, uint32_t row)
{
    const vg_plan *p = vg_plan_of(t);
    const uint32_t k2 = t->learn.k2;
    const int32_t *errors = vg_ints(t, g->errors_tape) + row * k2;
    int32_t *into = vg_ints(t, g->g) + row * g->columns;

    if (s->symbols) {
        for (uint32_t k = 0; k < p->now.n_seen; k++) {
            const uint32_t symbol = vg_indices(t, p->seen)[k];
            int64_t sum = 0;
            for (uint32_t at = vg_indices(t, p->seen_mark)[symbol]; at;
                 at = vg_indices(t, p->next)[at - 1])
                sum += errors[at - 1];
            keep(t, &into[symbol], sum, 0);
        }
        return;
    }
    for (uint32_t j = vg_span_begin(g, s); j < s->end; j++) {
        const vg_sig *z = vg_sigs(t, net->z_tape) + (j - net->skipped) * k2;
        int64_t sum = 0;
        for (uint32_t k = 0; k < p->now.tape_len; k++)
            sum += (int64_t)errors[k] * z[k];
        keep(t, &into[j], sum, s->exp);
    }
}

static void gate_gradient(vg_train *t, const vg_gate *g, const vg_net *net)
{
    for (uint32_t row = 0; row < g->rows; row++) {
        const int32_t *errors = vg_ints(t, g->errors_tape) + row * t->learn.k2;
        int64_t sum = 0;
        for (const vg_span *s = g->span; s < g->span + g->n_spans; s++)
            if (vg_rate_of(t, g, s->part))
                span_gradient(t, g, net, s, row);
        if (!g->biases || !vg_rate_of(t, g, VG_BIAS))
            continue;
        for (uint32_t k = 0; k < vg_plan_of(t)->now.tape_len; k++)
            sum += errors[k];
        keep(t, &vg_biases_of(t, g, g->g)[row], sum, 0);
    }
}

/* ---- an update is due ----------------------------------------------- */

void vg_tbptt_flow(vg_train *t)
{
    vg_plan *p = vg_plan_of(t);
    const vg_layer *layers = vg_run_layers(&t->run);
    const vg_net *nets = vg_nets_of(t);
    const uint32_t k2 = t->learn.k2, last = t->model.n_layers - 1u;
    uint32_t at = p->now.tape_at, next = at;

    for (uint32_t k = 0; k <= last; k++) {
        memset(vg_ints(t, nets[k].dc), 0, 4 * (size_t)layers[k].n);
        memset(vg_ints(t, nets[k].dr) + layers[k].n_in, 0,
               4 * (size_t)(layers[k].n_z - layers[k].n_in));
    }
    for (uint32_t step = 0; step < p->now.tape_len; step++, next = at) {
        at = at ? at - 1 : k2 - 1;
        for (uint32_t k = last + 1; k-- > 0;) {
            recall(t, &layers[k], &nets[k], at, next, step == 0);
            if (k == last)
                layer_back(t, k, vg_ints(t, p->dh_tape) + at, k2, at);
            else
                layer_back(t, k, vg_ints(t, nets[k + 1].dr), 1, at);
        }
    }
    if (t->learn.flags & VG_SYMBOLS)
        chain_symbols(t, p);
    for (uint32_t k = 0; k <= last; k++)
        for (uint32_t g = 0; g < layers[k].n_gates; g++)
            gate_gradient(t, vg_gates_of(t) + nets[k].first + g, &nets[k]);
    memset(vg_ints(t, p->dh_tape), 0, 4 * (size_t)layers[last].n * k2);
}
