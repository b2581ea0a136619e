/* tbptt.c - truncated backpropagation through time.  The tape holds the newest
 * k2 steps, everything in the order [what][step], so that a gradient is one
 * exact sum along the tape (tbptt_gradient.c).
 */
#include <string.h>

#include "train.h"

/* ---- onto the tape -------------------------------------------------- */

/* n values of one step, onto the tape or off it; the next step's stand beside
 * them. */
static void record(const vg_sig *z, uint32_t n, uint32_t k2, vg_sig *tape)
{
    for (const vg_sig *end = z + n; z < end; tape += k2)
        *tape = *z++;
}

static void record_ints(const int32_t *c, uint32_t n, uint32_t k2,
                        int32_t *tape)
{
    for (const int32_t *end = c + n; c < end; tape += k2)
        *tape = *c++;
}

static void recall(const vg_sig *tape, uint32_t n, uint32_t k2, vg_sig *z)
{
    for (const vg_sig *end = z + n; z < end; tape += k2)
        *z++ = *tape;
}

static void recall_ints(const int32_t *tape, uint32_t n, uint32_t k2,
                        int32_t *c)
{
    for (const int32_t *end = c + n; c < end; tape += k2)
        *c++ = *tape;
}

void vg_tbptt_before(vg_train *t, uint32_t layer)
{
    const vg_layer *l = vg_run_layers(&t->run) + layer;
    const vg_net *net = vg_nets_of(t) + layer;
    const uint32_t k2 = t->learn.k2, at = vg_plan_of(t)->now.tape_at;

    record(vg_run_signals(&t->run, l->z) + net->skipped, l->n_z - net->skipped,
           k2, vg_sigs(t, net->z_tape) + at);
    record_ints(vg_run_c(&t->run, l), l->n_c, k2, vg_ints(t, net->c_tape) + at);
}

void vg_tbptt_after(vg_train *t, uint32_t layer, const vg_sig *values)
{
    const vg_layer *l = vg_run_layers(&t->run) + layer;
    const vg_net *net = vg_nets_of(t) + layer;
    const vg_gate *gate = vg_gates_of(t) + net->first;
    const uint32_t k2 = t->learn.k2, at = vg_plan_of(t)->now.tape_at;

    if (VG_HAS_FIELDS && net->h_tape)
        record(vg_run_r(&t->run, l), l->n, k2, vg_sigs(t, net->h_tape) + at);
    if (!gate->gates_tape)
        return;
    for (const vg_gate *end = gate + l->n_gates; gate < end; gate++) {
        record(values, gate->rows, k2, vg_sigs(t, gate->gates_tape) + at);
        values += gate->rows;
    }
}

void vg_tbptt_step(vg_train *t, const vg_input *x, const int32_t *dh)
{
    vg_plan *p = vg_plan_of(t);
    const uint32_t k2 = t->learn.k2, at = p->now.tape_at;
    const uint32_t n = vg_run_layers(&t->run)[t->model.n_layers - 1].n;

    if (dh)
        record_ints(dh, n, k2, vg_ints(t, p->dh_tape) + at);
    else
        for (uint32_t u = 0; u < n; u++)
            vg_ints(t, p->dh_tape)[u * k2 + at] = 0;
    if (VG_HAS_SYMBOLS && !x->x)
        vg_indices(t, p->symbol_tape)[at] = (uint16_t)x->symbol;
    p->now.tape_at = at + 1 < k2 ? at + 1 : 0;
    if (p->now.tape_len < k2)
        p->now.tape_len++;
}

/* ---- back along it -------------------------------------------------- */

/* h after a step, into net's: what is before the next step, or the run's own
 * after the newest. */
static void recall_h(vg_train *t, const vg_layer *l, const vg_net *net,
                     const vg_back *b)
{
    const uint32_t k2 = t->learn.k2;
    const vg_sig *z = vg_sigs(t, net->z_tape) + (l->n_in - net->skipped) * k2;
    vg_sig *h = vg_sigs(t, net->h);

    if (b->newest)
        memcpy(h, vg_run_r(&t->run, l), 2 * (size_t)l->n);
    else if (net->h_tape)
        recall(vg_sigs(t, net->h_tape) + b->at, l->n, k2, h);
    else
        recall(z + b->next, l->n, k2, h);
    if (net->r0)
        recall(z + b->at, l->n, k2, vg_sigs(t, net->r0));
}

/* What a layer's step left, off the tape into net's vectors. */
static vg_left step_of(vg_train *t, const vg_layer *l, const vg_net *net,
                       const vg_back *b)
{
    const vg_gate *gate = vg_gates_of(t) + net->first;
    const uint32_t k2 = t->learn.k2;
    vg_sig *values = vg_sigs(t, net->values);
    int32_t *c0 = vg_ints(t, net->c0), *c1 = vg_ints(t, net->c1);
    const vg_left left = {values, net->r0 ? vg_sigs(t, net->r0) : NULL,
                          vg_sigs(t, net->h), c0, c1};
    uint32_t apart;
    const int32_t *after = vg_c_after(t, l, net, b, &apart);

    if (gate->gates_tape)
        for (const vg_gate *end = gate + l->n_gates; gate < end; gate++) {
            recall(vg_sigs(t, gate->gates_tape) + b->at, gate->rows, k2,
                   values);
            values += gate->rows;
        }
    recall_ints(vg_ints(t, net->c_tape) + b->at, l->n_c, k2, c0);
    recall_ints(after, l->n_c, apart, c1);
    recall_h(t, l, net, b);
    return left;
}

/* dh, the error of h, and where a layer gives y, dy: from above, and r's part
 * of the step after. */
static void meet(vg_train *t, const vg_layer *l, const vg_net *net,
                 const vg_back *b)
{
    const int gives_y = vg_gives_y(l);
    int32_t *dy = vg_ints(t, gives_y ? net->dy : net->dh);
    int32_t *dh = vg_ints(t, net->dh);
    const int32_t *dr = vg_ints(t, net->dr);

    for (uint32_t u = 0; u < l->n; u++) {
        dy[u] = b->above[u * b->apart];
        b->above[u * b->apart] = 0;
        if (gives_y)
            dh[u] = dr[u];
        else if (vg_is_recurrent(l))
            dh[u] = fx_sat31((int64_t)dh[u] + dr[u]);
    }
}

/* To the errors of the arguments, and onto the tape: any cell. */
static void cell_back(vg_train *t, const vg_layer *l, const vg_net *net,
                      const vg_back *b)
{
    const vg_gate *g = vg_gates_of(t) + net->first;
    const vg_left left = step_of(t, l, net, b);

    meet(t, l, net, b);
    vg_derive(t, l, net, &left);
    vg_step_back(t, l, net, &left);
    vg_carry_back(t, l, net, left.values);
    for (const vg_gate *end = g + l->n_gates; g < end; g++)
        record_ints(vg_ints(t, g->errors), g->rows, t->learn.k2,
                    vg_ints(t, g->errors_tape) + b->at);
}

/* One layer, one step: from the error that came from above.  x's errors too, if
 * a layer below wants them, and r's, if there is a step before. */
static void layer_back(vg_train *t, uint32_t layer, const vg_back *b, int below)
{
    const vg_layer *l = vg_run_layers(&t->run) + layer;
    const vg_net *net = vg_nets_of(t) + layer;
    const vg_gate *gates = vg_gates_of(t) + net->first;
    int32_t *dr = vg_ints(t, net->dr);

    if (!vg_in_one_pass(l))
        cell_back(t, l, net, b);
    else if (VG_HAS_CELL(VG_GRU) && l->cell == VG_GRU)
        vg_tbptt_gru(t, l, net, b);
    else if (VG_HAS_PLAIN_LSTM)
        vg_tbptt_lstm(t, l, net, b);
    if (below)
        vg_transposed(t, gates, l->n_gates, VG_READS_X, l->n_in,
                      vg_ints(t, net->dx));
    if (!vg_is_recurrent(l) || b->oldest)
        return;
    vg_transposed(t, gates, l->n_gates, VG_READS_H, l->n, dr);
    if (VG_HAS_FIELDS)
        vg_transposed(t, gates, l->n_gates, VG_READS_GATES,
                      l->n_z - l->n_in - l->n, dr + l->n);
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

/* The error of one step down to the layer `low`. */
static void step_back(vg_train *t, uint32_t low, vg_back *b)
{
    b->above = vg_ints(t, vg_plan_of(t)->dh_tape) + b->at;
    b->apart = t->learn.k2;
    for (uint32_t k = t->model.n_layers; k-- > low;) {
        layer_back(t, k, b, k > low);
        b->above = vg_ints(t, vg_nets_of(t)[k].dx);
        b->apart = 1;
    }
}

void vg_tbptt_flow(vg_train *t)
{
    vg_plan *p = vg_plan_of(t);
    const vg_layer *layers = vg_run_layers(&t->run);
    const vg_net *nets = vg_nets_of(t);
    const uint32_t k2 = t->learn.k2, n = t->model.n_layers, low = lowest(t);
    vg_back b;

    for (uint32_t k = low; k < n; k++) {
        memset(vg_ints(t, nets[k].dc), 0, 4 * (size_t)layers[k].n);
        memset(vg_ints(t, nets[k].dr), 0,
               4 * (size_t)(layers[k].n_z - layers[k].n_in));
        vg_pack(t, vg_gates_of(t) + nets[k].first, layers[k].n_gates, k > low);
    }
    b.next = p->now.tape_at;
    for (uint32_t left = low < n ? p->now.tape_len : 0; left--; b.next = b.at) {
        b.at = b.next ? b.next - 1 : k2 - 1;
        b.newest = left + 1 == p->now.tape_len;
        b.oldest = !left;
        step_back(t, low, &b);
    }
    if (vg_on_symbols(t) && !low)
        vg_unpack(t, vg_gates_of(t), layers->n_gates);
    vg_tbptt_gradient(t, low);
    if (low == n) /* else every error was taken */
        memset(vg_ints(t, p->dh_tape), 0, 4 * (size_t)layers[n - 1].n * k2);
}
