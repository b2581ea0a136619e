/* jac.c - the derivatives of the cells, and one step back through them.  Every
 * cell is one function of its table row forward and one derivative per gate
 * here; TBPTT and RTRL97 know no cell.
 */
#include "lut.h"
#include "train.h"

enum { ONE_Q28 = 1 << 28, ONE_Q24 = 1 << 24 };

/* s (1 - s), q28. */
static int32_t logistic_q28(int32_t s)
{
    return s * (VG_ONE - s);
}

/* ---- RNNs ----------------------------------------------------------- */

static int32_t rnn_derivative(char function, int32_t h)
{
    if (function == 't')
        return (int32_t)fx_rs(ONE_Q28 - h * h, 4);
    if (function == 's')
        return (int32_t)fx_rs(logistic_q28(h), 4);
    return h > 0 ? ONE_Q24 : 0;
}

/* ---- the LSTM family ------------------------------------------------ */

/* The gates' outputs at one step; f and o may be null. */
typedef struct {
    const vg_sig *i, *f, *o, *g;
} lstm_values;

static lstm_values lstm_gates(const vg_layer *l, const vg_sig *values)
{
    const uint32_t blocks = (uint32_t)l->n / l->block;
    lstm_values v = {values, NULL, NULL, values + blocks};

    if (l->fields & VG_FORGET_GATE) {
        v.f = v.g;
        v.g += blocks;
    }
    if (l->fields & VG_OUTPUT_GATE) {
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

    if (letter == 'i') {
        const int twice = (l->fields & VG_G_MASK) == VG_G_4S2;
        return (int32_t)fx_rs((int64_t)logistic_q28(v->i[b]) * g * (1 + twice),
                              18);
    }
    if (letter == 'f')
        return fx_to31((int64_t)logistic_q28(v->f[b]) * c0, 24);
    if ((l->fields & VG_G_MASK) == VG_G_S)
        return (int32_t)fx_rs((int64_t)v->i[b] * logistic_q28(g), 18);
    return (int32_t)fx_rs((int64_t)v->i[b] * (ONE_Q28 - g * g), 18);
}

/* Of h by c, and, by_o not null, by the argument of o. */
static int32_t h_derivative(const vg_layer *l, const lstm_values *v, uint32_t b,
                            int32_t c1, int32_t *by_o)
{
    const int32_t o = v->o ? v->o[b] : VG_ONE;
    fx_clamps harmless = {0, 0};
    int32_t t, shift = (l->fields & VG_H_MASK) == VG_H_TANH ? 8 : 9;

    if ((l->fields & VG_H_MASK) == VG_H_IDENTITY) {
        *by_o = fx_to31((int64_t)logistic_q28(o) * c1, 24);
        return o * 1024;
    }
    t = lut_tanh(fx_sat16(fx_rs(c1, shift), &harmless));
    *by_o = (int32_t)fx_rs((int64_t)logistic_q28(o) * t, 18);
    return (int32_t)fx_rs((int64_t)o * (ONE_Q28 - t * t), shift + 10);
}

static void lstm_derive(vg_train *t, const vg_layer *l, const vg_net *net,
                        const vg_sig *values, const int32_t *c0,
                        const int32_t *c1)
{
    const vg_gate *gate = vg_gates_of(t) + net->first;
    const lstm_values v = lstm_gates(l, values);
    int32_t *h_by_c = vg_ints(t, net->h_by_c);

    for (uint32_t k = 0; k < l->n_gates; k++, gate++) {
        int32_t *d = vg_ints(t, gate->derivatives);
        const vg_sig *own = gate->letter == 'o' ? v.o : v.i;
        for (uint32_t b = 0, u = 0; gate->letter != 'o' && u < l->n; b++)
            for (const uint32_t end = u + l->block; u < end; u++)
                d[u] = c_derivative(l, (char)gate->letter, &v, b, u, c0[u]);
        for (uint32_t b = 0; gate->self && b < gate->rows; b++)
            vg_ints(t, gate->self)[b] = (int32_t)fx_rs(logistic_q28(own[b]), 4);
    }
    gate = vg_gates_of(t) + net->first + (v.f ? 2 : 1); /* o, if there is one */
    for (uint32_t b = 0, u = 0; u < l->n; b++)
        for (const uint32_t end = u + l->block; u < end; u++) {
            int32_t by_o;
            h_by_c[u] = h_derivative(l, &v, b, c1[u], &by_o);
            if (v.o)
                vg_ints(t, gate->derivatives)[u] = by_o;
        }
}

void vg_derive(vg_train *t, const vg_layer *l, const vg_net *net,
               const vg_sig *values, const int32_t *c0, const int32_t *c1,
               const vg_sig *h)
{
    if (l->n_c) {
        lstm_derive(t, l, net, values, c0, c1);
    } else {
        int32_t *d = vg_ints(t, vg_gates_of(t)[net->first].derivatives);
        for (uint32_t u = 0; u < l->n; u++)
            d[u] = rnn_derivative(vg_cells[l->cell].functions[0], h[u]);
    }
}

/* ---- one step back -------------------------------------------------- */

/* An unbounded h on its limit passes nothing outward. */
static void keep_h_inward(const vg_layer *l, const vg_sig *h, int32_t *dh)
{
    const int relu = vg_cells[l->cell].functions[0] == 'r';

    if (!relu && !(l->n_c && (l->fields & VG_H_MASK) == VG_H_IDENTITY))
        return;
    for (uint32_t u = 0; u < l->n; u++)
        dh[u] = vg_inward(dh[u], h[u], relu ? INT32_MIN : INT16_MIN, INT16_MAX);
}

/* a = the block's errors times derivatives, plus what was fed back. */
static void gate_back(vg_train *t, const vg_layer *l, const vg_gate *g,
                      const int32_t *from, const int32_t *fed_back)
{
    const int32_t *d = vg_ints(t, g->derivatives);
    int32_t *errors = vg_ints(t, g->errors);
    const uint32_t cells = l->n / g->rows; /* of a row */

    for (uint32_t row = 0, u = 0; row < g->rows; row++) {
        int64_t sum = 0;
        for (const uint32_t end = u + cells; u < end; u++)
            sum += fx_mul24(from[u], d[u]);
        if (g->self && fed_back)
            sum += fx_mul24(fed_back[row], vg_ints(t, g->self)[row]);
        errors[row] = fx_sat31(sum);
    }
}

void vg_step_back(vg_train *t, const vg_layer *l, const vg_net *net,
                  const int32_t *c1, const vg_sig *h)
{
    vg_gate *gates = vg_gates_of(t) + net->first;
    const uint32_t blocks = (uint32_t)l->n / l->block;
    const int32_t *fed_back = vg_ints(t, net->dr) + l->n;
    const int32_t *h_by_c = vg_ints(t, net->h_by_c);
    int32_t *dh = vg_ints(t, net->dh), *dc = vg_ints(t, net->dc);

    keep_h_inward(l, h, dh);
    for (uint32_t k = 0; k < l->n_gates; k++)
        if (vg_acts_on_h(&gates[k]))
            gate_back(t, l, &gates[k], dh, fed_back + blocks);
    for (uint32_t u = 0; u < l->n_c; u++) {
        dc[u] = fx_sat31(dc[u] + fx_mul24(dh[u], h_by_c[u]));
        dc[u] = vg_inward(dc[u], c1[u], -((int32_t)1 << 30), (int32_t)1 << 30);
    }
    for (uint32_t k = 0; k < l->n_gates; k++)
        if (gates[k].errors && !vg_acts_on_h(&gates[k]))
            gate_back(t, l, &gates[k], dc, fed_back);
}
