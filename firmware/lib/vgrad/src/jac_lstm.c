/* jac_lstm.c - derivatives of the LSTM family, and one step back: Hochreiter
 * and Schmidhuber 1997, Gers et al. 2000, with peepholes Gers and Schmidhuber
 * 2000, with coupled gates Greff et al. 2016.
 */
#include <string.h>

#include "lut.h"
#include "train.h"

enum { ONE_Q28 = 1 << 28 };

/* The gates' outputs at one step; f and o may be null. */
typedef struct {
    const vg_sig *i, *f, *o, *g;
} lstm_values;

static lstm_values lstm_gates(const vg_layer *l, const vg_sig *values)
{
    const uint32_t blocks = vg_blocks(l);
    lstm_values v = {values, NULL, NULL, values + blocks};

    if (vg_is_cell(l, VG_LSTM_PEEPHOLE)) { /* i f g o */
        v.f = values + blocks;
        v.g = v.f + blocks;
        v.o = v.g + blocks;
        return v;
    }
    if (vg_fields(l) & VG_FORGET_GATE) {
        v.f = v.g;
        v.g += blocks;
    }
    if (vg_fields(l) & VG_OUTPUT_GATE) {
        v.o = v.g;
        v.g += blocks;
    }
    return v;
}

/* Of c by the argument of i, f or g, for cell u of block b. */
static int32_t c_derivative(const vg_layer *l, char letter,
                            const lstm_values *v, uint32_t b, uint32_t u,
                            int32_t c0)
{
    const int32_t g = v->g[u];

    if (letter == 'i' && vg_is_cell(l, VG_LSTM_COUPLED))
        return fx_times24_31(vg_logistic_q28(v->i[b]), fx_minus(64 * g, c0));
    if (letter == 'i') {
        const int twice = (vg_fields(l) & VG_G_MASK) == VG_G_4S2;
        return fx_times(vg_logistic_q28(v->i[b]), g * (1 + twice), 18);
    }
    if (letter == 'f')
        return fx_times24_31(vg_logistic_q28(v->f[b]), c0);
    if ((vg_fields(l) & VG_G_MASK) == VG_G_S)
        return fx_times18(vg_logistic_q28(g), v->i[b]);
    return fx_times18(ONE_Q28 - g * g, v->i[b]);
}

/* Of h by c, and, by_o not null, by the argument of o. */
static int32_t h_derivative(const vg_layer *l, const lstm_values *v, uint32_t b,
                            int32_t c1, int32_t *by_o)
{
    const int32_t o = v->o ? v->o[b] : VG_ONE;
    int32_t t, shift = (vg_fields(l) & VG_H_MASK) == VG_H_TANH ? 8 : 9;

    if ((vg_fields(l) & VG_H_MASK) == VG_H_IDENTITY) {
        *by_o = fx_times24_31(vg_logistic_q28(o), c1);
        return o * 1024;
    }
    t = lut_tanh(fx_narrow(fx_rs31(c1, shift)));
    *by_o = fx_times18(vg_logistic_q28(o), t);
    return fx_times(o, ONE_Q28 - t * t, shift + 10);
}

/* Of c by the arguments of i, f and g, and of i and o by their own. */
static void c_derive(vg_train *t, const vg_layer *l, const vg_gate *gate,
                     const lstm_values *v, const int32_t *c0)
{
    int32_t *d = vg_ints(t, gate->derivatives);
    const vg_sig *own = gate->letter == 'o' ? v->o : v->i;

    for (uint32_t b = 0, u = 0; gate->letter != 'o' && u < l->n; b++)
        for (const uint32_t end = u + vg_block_of(l); u < end; u++)
            d[u] = c_derivative(l, (char)gate->letter, v, b, u, c0[u]);
    for (uint32_t b = 0; gate->self && b < gate->rows; b++)
        vg_ints(t, gate->self)[b] = (int32_t)fx_rs(vg_logistic_q28(own[b]), 4);
}

void vg_lstm_derive(vg_train *t, const vg_layer *l, const vg_net *net,
                    const vg_left *left)
{
    const vg_gate *gate = vg_gates_of(t) + net->first;
    const lstm_values v = lstm_gates(l, left->values);
    int32_t *h_by_c = vg_ints(t, net->h_by_c), *by_o = NULL;

    for (uint32_t k = 0; k < l->n_gates; k++)
        c_derive(t, l, &gate[k], &v, left->c0);
    if (v.o)
        by_o = vg_ints(t, vg_gate_of(t, net, 'o')->derivatives);
    for (uint32_t b = 0, u = 0; u < l->n; b++)
        for (const uint32_t end = u + vg_block_of(l); u < end; u++) {
            int32_t d;
            h_by_c[u] = h_derivative(l, &v, b, left->c1[u], &d);
            if (by_o)
                by_o[u] = d;
        }
}

/* ---- one step back -------------------------------------------------- */

void vg_lstm_back(vg_train *t, const vg_layer *l, const vg_net *net,
                  const vg_left *left)
{
    const vg_gate *gates = vg_gates_of(t) + net->first;
    const vg_gate *end = gates + l->n_gates, *g;
    /* of an argument, RTRL97 cuts what would go on to c by a peephole */
    const vg_gate *peephole =
        vg_is_cell(l, VG_LSTM_PEEPHOLE) && t->learn.method == VG_TBPTT ? end - 1
                                                                       : NULL;
    const int32_t *fed_back = vg_ints(t, net->dr) + l->n;
    const int32_t *h_by_c = vg_ints(t, net->h_by_c);
    int32_t *dh = vg_ints(t, net->dh), *dc = vg_ints(t, net->dc);

    if ((vg_fields(l) & VG_H_MASK) == VG_H_IDENTITY)
        for (uint32_t u = 0; u < l->n; u++)
            dh[u] = vg_inward(dh[u], left->h1[u], INT16_MIN, INT16_MAX);
    for (g = gates; g < end; g++)
        if (g->letter == 'o')
            vg_gate_back(t, l, g, dh, fed_back + vg_blocks(l));
    for (uint32_t u = 0; u < l->n; u++) {
        const int64_t own = peephole ? vg_own_back(t, peephole, u) : 0;
        dc[u] = fx_sat31((int64_t)dc[u] + fx_times24(dh[u], h_by_c[u]) + own);
        dc[u] = vg_inward(dc[u], left->c1[u], -((int32_t)1 << 30),
                          (int32_t)1 << 30);
    }
    for (g = gates; g < end; g++)
        if (g->errors && g->letter != 'o')
            vg_gate_back(t, l, g, dc, fed_back);
    if (net->dr)
        memset(vg_ints(t, net->dr), 0, 4 * (size_t)(l->n_z - l->n_in));
}
