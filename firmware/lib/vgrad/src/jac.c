/* jac.c - the derivatives of the cells, and one step back through them.  Every
 * cell is one function of its table row forward and one derivative per gate
 * here and in the files of the families; TBPTT and RTRL97 know no cell.
 */
#include <string.h>

#include "train.h"

enum { ONE_Q28 = 1 << 28, ONE_Q24 = 1 << 24 };

vg_gate *vg_gate_of(const vg_train *t, const vg_net *net, char letter)
{
    vg_gate *g = vg_gates_of(t) + net->first;

    while (g->letter != letter)
        g++;
    return g;
}

void vg_gate_back(vg_train *t, const vg_layer *l, const vg_gate *g,
                  const int32_t *from, const int32_t *fed_back)
{
    const int32_t *d = vg_ints(t, g->derivatives);
    int32_t *errors = vg_ints(t, g->errors);
    const uint32_t cells = l->n / g->rows; /* of a row */

    if (cells == 1 && !(g->self && fed_back)) {
        for (const int32_t *end = d + l->n; d < end;)
            *errors++ = fx_times24_31(*from++, *d++);
        return;
    }
    for (uint32_t row = 0, u = 0; row < g->rows; row++) {
        int64_t sum = 0;
        for (const uint32_t end = u + cells; u < end; u++)
            sum += fx_mul24(from[u], d[u]);
        if (g->self && fed_back)
            sum += fx_mul24(fed_back[row], vg_ints(t, g->self)[row]);
        errors[row] = fx_sat31(sum);
    }
}

int32_t vg_own_back(const vg_train *t, const vg_gate *g, uint32_t u)
{
    const vg_span *s = g->span;

    while (!vg_reads_own(s))
        s++;
    return vg_to31(
        fx_product(vg_ints(t, g->errors)[u],
                   vg_sigs(t, g->weights)[u * vg_gate_stride(g) + s->end - 1]),
        vg_exp_of(t, g) - s->exp);
}

int32_t vg_kept(const vg_layer *l, const vg_sig *values, uint32_t b)
{
    if (VG_HAS_H && vg_cells[l->cell]->carry == 'h')
        return values[b]; /* z */
    if (vg_is_cell(l, VG_LSTM_COUPLED))
        return VG_ONE - values[b]; /* 1 - i */
    return vg_fields(l) & VG_FORGET_GATE ? values[vg_blocks(l) + b] : VG_ONE;
}

void vg_carry_back(vg_train *t, const vg_layer *l, const vg_net *net,
                   const vg_sig *values)
{
    const vg_gate *i = vg_gates_of(t) + net->first, *f = i + 1;
    int32_t *dc = vg_ints(t, net->dc);

    for (uint32_t b = 0, u = 0; u < l->n_c; b++) {
        const int32_t kept = vg_kept(l, values, b);
        for (const uint32_t end = u + vg_block_of(l); u < end; u++)
            dc[u] = fx_times14(dc[u], kept);
    }
    if (vg_is_cell(l, VG_LSTM_PEEPHOLE))
        for (uint32_t u = 0; u < l->n; u++)
            dc[u] = fx_sat31((int64_t)dc[u] + vg_own_back(t, i, u) +
                             vg_own_back(t, f, u));
}

/* ---- RNNs, IndRNN ----------------------------------------------------- */

static int32_t rnn_derivative(char function, int32_t h)
{
    if (function == 't')
        return (int32_t)fx_rs(ONE_Q28 - h * h, 4);
    if (function == 's')
        return (int32_t)fx_rs(vg_logistic_q28(h), 4);
    return h > 0 ? ONE_Q24 : 0;
}

static void rnn_derive(vg_train *t, const vg_layer *l, const vg_net *net,
                       const vg_sig *h)
{
    int32_t *d = vg_ints(t, vg_gates_of(t)[net->first].derivatives);

    for (uint32_t u = 0; u < l->n; u++)
        d[u] = rnn_derivative(vg_cells[l->cell]->functions[0], h[u]);
}

static void rnn_back(vg_train *t, const vg_layer *l, const vg_net *net,
                     const vg_sig *h)
{
    const vg_gate *a = vg_gates_of(t) + net->first;
    int32_t *dh = vg_ints(t, net->dh), *dr = vg_ints(t, net->dr);

    if (vg_cells[l->cell]->functions[0] == 'r')
        for (uint32_t u = 0; u < l->n; u++)
            dh[u] = vg_inward(dh[u], h[u], INT32_MIN, INT16_MAX);
    vg_gate_back(t, l, a, dh, NULL);
    for (uint32_t u = 0; u < l->n; u++)
        dr[u] = vg_is_cell(l, VG_INDRNN) ? vg_own_back(t, a, u) : 0;
}

/* ---- by families ------------------------------------------------------ */

void vg_derive(vg_train *t, const vg_layer *l, const vg_net *net,
               const vg_left *left)
{
    switch (vg_cells[l->cell]->carry) {
    case 'c':
        if (VG_HAS_C)
            vg_lstm_derive(t, l, net, left);
        break;
    case 'h':
        if (VG_HAS_H)
            vg_gru_derive(t, l, net, left);
        break;
    default:
        rnn_derive(t, l, net, left->h1);
    }
}

void vg_step_back(vg_train *t, const vg_layer *l, const vg_net *net,
                  const vg_left *left)
{
    switch (vg_cells[l->cell]->carry) {
    case 'c':
        if (VG_HAS_C)
            vg_lstm_back(t, l, net, left);
        break;
    case 'h':
        if (VG_HAS_H)
            vg_gru_back(t, l, net, left);
        break;
    default:
        rnn_back(t, l, net, left->h1);
    }
}
