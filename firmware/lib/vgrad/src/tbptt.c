/* tbptt.c - truncated backpropagation through time.  The tape holds the newest
 * k2 steps, everything in the order [what][step], so that a gradient is one
 * exact sum along the tape (tbptt_gradient.c).
 */
#include <string.h>

#include "train.h"

/* ---- onto the tape -------------------------------------------------- */

void vg_tbptt_before(vg_train *t, uint32_t layer)
{
    const vg_layer *l = vg_run_layers(&t->run) + layer;
    const vg_net *net = vg_nets_of(t) + layer;
    const uint32_t k2 = t->learn.k2, at = vg_plan_of(t)->now.tape_at;
    const vg_sig *z = vg_run_signals(&t->run, l->z);
    const int32_t *c = vg_run_c(&t->run, l);

    for (uint32_t j = net->skipped; j < l->n_z; j++)
        vg_sigs(t, net->z_tape)[(j - net->skipped) * k2 + at] = z[j];
    for (uint32_t u = 0; u < l->n_c; u++)
        vg_ints(t, net->c_tape)[u * k2 + at] = c[u];
}

void vg_tbptt_after(vg_train *t, uint32_t layer, const vg_sig *values)
{
    const vg_layer *l = vg_run_layers(&t->run) + layer;
    const vg_net *net = vg_nets_of(t) + layer;
    const vg_gate *gate = vg_gates_of(t) + net->first;
    const uint32_t k2 = t->learn.k2, at = vg_plan_of(t)->now.tape_at;
    const vg_sig *h = vg_run_r(&t->run, l);

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
static vg_left recall(vg_train *t, const vg_layer *l, const vg_net *net,
                      uint32_t at, uint32_t next, int newest)
{
    const vg_gate *gate = vg_gates_of(t) + net->first;
    const uint32_t k2 = t->learn.k2;
    const vg_sig *h_tape =
        vg_sigs(t, net->z_tape) + (l->n_in - net->skipped) * k2;
    vg_sig *values = vg_sigs(t, net->values);
    vg_sig *h0 = net->r0 ? vg_sigs(t, net->r0) : NULL;
    vg_sig *h1 = vg_sigs(t, net->h);
    int32_t *c0 = vg_ints(t, net->c0), *c1 = vg_ints(t, net->c1);
    const vg_left left = {vg_sigs(t, net->values), h0, h1, c0, c1};

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
            h1[u] = vg_run_r(&t->run, l)[u];
        else if (net->h_tape)
            h1[u] = vg_sigs(t, net->h_tape)[u * k2 + at];
        else
            h1[u] = h_tape[u * k2 + next];
    }
    for (uint32_t u = 0; h0 && u < l->n; u++)
        h0[u] = h_tape[u * k2 + at];
    return left;
}

/* dh, the error of h, and where a layer gives y, dy: from above, and r's part
 * of the step after. */
static void meet(vg_train *t, const vg_layer *l, const vg_net *net,
                 const int32_t *above, uint32_t stride)
{
    const int gives_y = vg_gives_y(l);
    int32_t *dy = vg_ints(t, gives_y ? net->dy : net->dh);
    int32_t *dh = vg_ints(t, net->dh);
    const int32_t *dr = vg_ints(t, net->dr);

    for (uint32_t u = 0; u < l->n; u++) {
        dy[u] = above[u * stride];
        if (gives_y)
            dh[u] = dr[u];
        else if (l->n_z > l->n_in)
            dh[u] = fx_sat31((int64_t)dh[u] + dr[u]);
    }
}

/* One layer, one step: from the error that came from above.  x's errors too, if
 * a layer below wants them. */
static void layer_back(vg_train *t, uint32_t layer, const int32_t *above,
                       uint32_t stride, uint32_t at, const vg_left *left,
                       int below)
{
    const vg_layer *l = vg_run_layers(&t->run) + layer;
    const vg_net *net = vg_nets_of(t) + layer;
    const vg_gate *gates = vg_gates_of(t) + net->first;
    const uint32_t k2 = t->learn.k2;
    int32_t *dr = vg_ints(t, net->dr), *dx = vg_ints(t, net->dx);

    meet(t, l, net, above, stride);
    vg_derive(t, l, net, left);
    vg_step_back(t, l, net, left);
    vg_carry_back(t, l, net, left->values);
    for (uint32_t k = 0; k < l->n_gates; k++)
        for (uint32_t row = 0; row < gates[k].rows; row++)
            vg_ints(t, gates[k].errors_tape)[row * k2 + at] =
                vg_ints(t, gates[k].errors)[row];
    if (below) {
        memset(dx, 0, 4 * (size_t)l->n_in);
        vg_transposed(t, gates, l->n_gates, VG_READS_X, l->n_in, dx);
    }
    if (l->n_z == l->n_in)
        return;
    vg_transposed(t, gates, l->n_gates, VG_READS_H, l->n, dr);
    vg_transposed(t, gates, l->n_gates, VG_READS_GATES, l->n_z - l->n_in - l->n,
                  dr + l->n);
}

/* ---- an update is due ----------------------------------------------- */

/* The lowest layer that learns; n_layers if none does. */
static uint32_t lowest(const vg_train *t)
{
    const vg_net *nets = vg_nets_of(t);

    for (uint32_t k = 0; k < t->model.n_layers; k++) {
        const vg_gate *g = vg_gates_of(t) + nets[k].first;
        const vg_gate *end = g + vg_run_layers(&t->run)[k].n_gates;
        for (; g < end; g++)
            for (uint32_t i = 0; i < g->n_spans; i++)
                if (g->span[i].learns)
                    return k;
    }
    return t->model.n_layers;
}

/* The error of one step, at `at`, down to the layer `low`. */
static void step_back(vg_train *t, uint32_t low, uint32_t at, uint32_t next,
                      int newest)
{
    const vg_layer *layers = vg_run_layers(&t->run);
    const vg_net *nets = vg_nets_of(t);
    const int32_t *above = vg_ints(t, vg_plan_of(t)->dh_tape) + at;
    uint32_t stride = t->learn.k2;

    for (uint32_t k = t->model.n_layers; k-- > low; stride = 1) {
        const vg_left left = recall(t, &layers[k], &nets[k], at, next, newest);
        layer_back(t, k, above, stride, at, &left, k > low);
        above = vg_ints(t, nets[k].dx);
    }
}

void vg_tbptt_flow(vg_train *t)
{
    vg_plan *p = vg_plan_of(t);
    const vg_layer *layers = vg_run_layers(&t->run);
    const vg_net *nets = vg_nets_of(t);
    const uint32_t k2 = t->learn.k2, n = t->model.n_layers, low = lowest(t);
    uint32_t at = p->now.tape_at, next = at;

    for (uint32_t k = low; k < n; k++) {
        memset(vg_ints(t, nets[k].dc), 0, 4 * (size_t)layers[k].n);
        memset(vg_ints(t, nets[k].dr), 0,
               4 * (size_t)(layers[k].n_z - layers[k].n_in));
    }
    for (uint32_t step = 0; low < n && step < p->now.tape_len; step++) {
        at = at ? at - 1 : k2 - 1;
        step_back(t, low, at, next, step == 0);
        next = at;
    }
    vg_tbptt_gradient(t, low);
    memset(vg_ints(t, p->dh_tape), 0, 4 * (size_t)layers[n - 1].n * k2);
}
