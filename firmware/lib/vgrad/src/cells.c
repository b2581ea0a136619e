/* cells.c - the cell table.  pyvgrad/cells.py has the same rows; a test
 * compares them field by field.
 */
#include "core.h"
#include "lut.h"

static uint32_t tanh_unit(const vg_layer *l, vg_sig *a, int32_t *c, vg_sig *r,
                          fx_clamps a_clamps)
{
    (void)c;
    (void)a_clamps;
    for (uint32_t u = 0; u < l->n; u++)
        r[u] = (vg_sig)lut_tanh(a[u]);
    return 0;
}

static uint32_t sigmoid_unit(const vg_layer *l, vg_sig *a, int32_t *c,
                             vg_sig *r, fx_clamps a_clamps)
{
    (void)c;
    (void)a_clamps;
    for (uint32_t u = 0; u < l->n; u++)
        r[u] = (vg_sig)lut_sigmoid(a[u]);
    return 0;
}

static uint32_t relu_unit(const vg_layer *l, vg_sig *a, int32_t *c, vg_sig *r,
                          fx_clamps a_clamps)
{
    (void)c;
    for (uint32_t u = 0; u < l->n; u++)
        r[u] = a[u] > 0 ? a[u] : 0;
    return a_clamps.high; /* one clamped from below becomes 0 all the same */
}

/* ---- the LSTM family: Hochreiter and Schmidhuber 1997, Gers et al. 2000 */

/* g: arguments to values, in place.  4s(x) - 2 = 2 tanh(x / 2), and x / 2 in
 * q12 is the integer x in q11; the factor 2 is in lstm_c. */
static void lstm_g(const vg_layer *l, vg_sig *g)
{
    if ((l->fields & VG_G_MASK) == VG_G_S)
        for (uint32_t u = 0; u < l->n; u++)
            g[u] = (vg_sig)lut_sigmoid(g[u]);
    else
        for (uint32_t u = 0; u < l->n; u++)
            g[u] = (vg_sig)lut_tanh(g[u]);
}

/* c' = f c + i g, one gate a block.  f is null for the carousel of 1997. */
static uint32_t lstm_c(const vg_layer *l, const vg_sig *i, const vg_sig *f,
                       const vg_sig *g, int32_t *c)
{
    const int32_t scale = (l->fields & VG_G_MASK) == VG_G_4S2 ? 128 : 64;
    fx_clamps k = {0, 0};
    for (uint32_t b = 0, u = 0; u < l->n; b++) {
        const int32_t forget = f ? f[b] : VG_ONE;
        const int32_t in = scale * i[b]; /* < 2^22 */
        for (const uint32_t end = u + l->block; u < end; u++)
            c[u] = fx_sat30(
                fx_rs((int64_t)forget * c[u] + (int64_t)in * g[u], 14), &k);
    }
    return k.low + k.high;
}

/* h' = o h(c'), h(x) = tanh(x) or 2s(x) - 1 = tanh(x / 2); o may be null. */
static void lstm_h_tanh(const vg_layer *l, const vg_sig *o, const int32_t *c,
                        vg_sig *h)
{
    const int shift = (l->fields & VG_H_MASK) == VG_H_TANH ? 8 : 9;
    fx_clamps harmless = {0, 0};
    for (uint32_t b = 0, u = 0; u < l->n; b++)
        for (const uint32_t end = u + l->block; u < end; u++) {
            const int32_t t = lut_tanh(fx_sat16(fx_rs(c[u], shift), &harmless));
            h[u] = (vg_sig)(o ? fx_rs(o[b] * t, 14) : t);
        }
}

/* h' = o c' on h_exp. */
static uint32_t lstm_h_identity(const vg_layer *l, const vg_sig *o,
                                const int32_t *c, vg_sig *h)
{
    const int shift = 20 - l->h_exp;
    fx_clamps k = {0, 0};
    for (uint32_t b = 0, u = 0; u < l->n; b++)
        for (const uint32_t end = u + l->block; u < end; u++)
            h[u] = fx_sat16(o ? fx_rs((int64_t)o[b] * c[u], shift + 14)
                              : fx_rs(c[u], shift),
                            &k);
    return k.low + k.high;
}

static uint32_t lstm_unit(const vg_layer *l, vg_sig *a, int32_t *c, vg_sig *r,
                          fx_clamps a_clamps)
{
    const uint32_t blocks = (uint32_t)l->n / l->block;
    vg_sig *i = a, *f = NULL, *o = NULL, *g = a + blocks;
    uint32_t clamped;

    (void)a_clamps;
    if (l->fields & VG_FORGET_GATE) {
        f = g;
        g += blocks;
    }
    if (l->fields & VG_OUTPUT_GATE) {
        o = g;
        g += blocks;
    }
    for (vg_sig *gate = a; gate < g; gate++)
        *gate = (vg_sig)lut_sigmoid(*gate);
    lstm_g(l, g);
    clamped = lstm_c(l, i, f, g, c);
    if ((l->fields & VG_H_MASK) == VG_H_IDENTITY)
        clamped += lstm_h_identity(l, o, c, r);
    else
        lstm_h_tanh(l, o, c, r);
    if (l->fields & VG_FEEDBACK)
        for (uint32_t b = 0; b < blocks; b++) {
            r[l->n + b] = i[b];
            if (o)
                r[l->n + blocks + b] = o[b];
        }
    return clamped;
}

enum {
    RNN = VG_RECURRENT,
    LSTM97 = VG_G_4S2 | VG_H_2S1 | VG_OUTPUT_GATE | VG_RECURRENT,
    LSTM = VG_OUTPUT_GATE | VG_FORGET_GATE | VG_RECURRENT
};

/* clang-format off */
const vg_cell vg_cells[VG_N_CELLS] = {
    /* name          gates   functions shared optional cells carry */
    {"rnn_tanh",     "a",    "t",      "",    "",      "a",  "",  RNN,    0, tanh_unit},
    {"rnn_sigmoid",  "a",    "s",      "",    "",      "a",  "",  RNN,    0, sigmoid_unit},
    {"rnn_relu",     "a",    "r",      "",    "",      "a",  "",  RNN,    0, relu_unit},
    {"lstm97",       "ifog", "sssg",   "ifo", "fo",    "g",  "c", LSTM97, 1, lstm_unit},
    {"lstm",         "ifog", "sssg",   "ifo", "",      "g",  "c", LSTM,   0, lstm_unit},
};
/* clang-format on */
