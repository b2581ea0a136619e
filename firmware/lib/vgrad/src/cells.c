/* cells.c - the cell table.  pyvgrad/cells.py has the same rows; a test
 * compares them field by field.
 */
#include "core.h"
#include "point.h"

/* Values of arguments, here or in place. */
static void sigmoids(const vg_sig *a, uint32_t n, vg_sig *y)
{
    POINT_SIGMOIDS(a, n, y);
}

static void tanhs(const vg_sig *a, uint32_t n, vg_sig *y)
{
    POINT_TANHS(a, n, y);
}

/* ---- RNNs, IndRNN: Li et al. 2018 ----------------------------------- */

static uint32_t tanh_unit(const vg_layer *l, vg_sig *a, int32_t *c, vg_sig *r)
{
    (void)c;
    tanhs(a, l->n, r);
    return 0;
}

static uint32_t sigmoid_unit(const vg_layer *l, vg_sig *a, int32_t *c,
                             vg_sig *r)
{
    (void)c;
    sigmoids(a, l->n, r);
    return 0;
}

static uint32_t relu_unit(const vg_layer *l, vg_sig *a, int32_t *c, vg_sig *r)
{
    (void)c;
    for (uint32_t u = 0; u < l->n; u++)
        r[u] = a[u] > 0 ? a[u] : 0;
    return 0;
}

/* ---- the LSTM family: Hochreiter and Schmidhuber 1997, Gers et al. 2000 */

/* 4s(x) - 2 = 2 tanh(x / 2), and x / 2 in q12 is the integer x in q11; the
 * factor 2 is in lstm_c. */
static void lstm_g(const vg_layer *l, vg_sig *g)
{
    if ((vg_fields(l) & VG_G_MASK) == VG_G_S)
        sigmoids(g, l->n, g);
    else
        tanhs(g, l->n, g);
}

/* c' = f c + i g, one gate a block.  Without f it is 1 as in 1997, or with
 * coupled gates 1 - i (Greff et al. 2016). */
static uint32_t lstm_c(const vg_layer *l, const vg_sig *i, const vg_sig *f,
                       const vg_sig *g, int32_t *c)
{
    const int32_t scale = (vg_fields(l) & VG_G_MASK) == VG_G_4S2 ? 128 : 64;
    const int coupled = vg_is_cell(l, VG_LSTM_COUPLED);
    uint32_t clamped = 0;
    for (uint32_t b = 0, u = 0; u < l->n; b++) {
        const int32_t forget = f ? f[b] : coupled ? VG_ONE - i[b] : VG_ONE;
        const int32_t in = scale * i[b]; /* < 2^22 */
        for (const uint32_t end = u + vg_block_of(l); u < end; u++)
            c[u] = fx_state(fx_mix(forget, c[u], in, g[u]), &clamped);
    }
    return clamped;
}

/* h' = o h(c'), h(x) = tanh(x) or 2s(x) - 1 = tanh(x / 2); o may be null. */
static uint32_t lstm_h_tanh(const vg_layer *l, const vg_sig *o,
                            const int32_t *c, vg_sig *h)
{
    const int shift = (vg_fields(l) & VG_H_MASK) == VG_H_TANH ? 8 : 9;
    for (uint32_t b = 0, u = 0; u < l->n; b++)
        for (const uint32_t end = u + vg_block_of(l); u < end; u++) {
            const int32_t t = lut_tanh(fx_narrow32(fx_rs32(c[u], shift)));
            h[u] = (vg_sig)(o ? fx_rs32(o[b] * t, 14) : t);
        }
    return 0;
}

/* h' = o c' on h_exp. */
static uint32_t lstm_h_identity(const vg_layer *l, const vg_sig *o,
                                const int32_t *c, vg_sig *h)
{
    const int shift = 20 - l->h_exp;
    fx_clamps k = {0, 0};
    for (uint32_t b = 0, u = 0; u < l->n; b++)
        for (const uint32_t end = u + vg_block_of(l); u < end; u++)
            h[u] = fx_sat16(o ? fx_rs((int64_t)o[b] * c[u], shift + 14)
                              : fx_rs(c[u], shift),
                            &k);
    return k.low + k.high;
}

static VG_APART uint32_t lstm_by_fields(const vg_layer *l, vg_sig *a,
                                        int32_t *c, vg_sig *r)
{
    const uint32_t blocks = vg_blocks(l);
    vg_sig *i = a, *f = NULL, *o = NULL, *g = a + blocks;
    uint32_t (*h)(const vg_layer *, const vg_sig *, const int32_t *, vg_sig *) =
        (vg_fields(l) & VG_H_MASK) == VG_H_IDENTITY ? lstm_h_identity
                                                    : lstm_h_tanh;
    uint32_t clamped;

    if (l->fields & VG_FORGET_GATE) {
        f = g;
        g += blocks;
    }
    if (l->fields & VG_OUTPUT_GATE) {
        o = g;
        g += blocks;
    }
    sigmoids(a, (uint32_t)(g - a), a);
    lstm_g(l, g);
    clamped = lstm_c(l, i, f, g, c);
    clamped += h(l, o, c, r);
    if (vg_fields(l) & VG_FEEDBACK)
        for (uint32_t b = 0; b < blocks; b++) {
            r[l->n + b] = i[b];
            if (o)
                r[l->n + blocks + b] = o[b];
        }
    return clamped;
}

static uint32_t lstm_unit(const vg_layer *l, vg_sig *a, int32_t *c, vg_sig *r)
{
    if (!VG_HAS_OTHER_LSTM || vg_is_plain_lstm(l))
        return point_lstm(a, l->n, c, r);
    return lstm_by_fields(l, a, c, r);
}

/* Peepholes, Gers and Schmidhuber 2000: o waits for c'. */
static uint32_t peephole_between(const vg_layer *l, vg_sig *a, int32_t *c,
                                 vg_sig *r)
{
    const uint32_t n = l->n;

    (void)r;
    sigmoids(a, 2 * n, a);
    tanhs(a + 2 * n, n, a + 2 * n);
    return lstm_c(l, a, a + n, a + 2 * n, c);
}

static uint32_t peephole_unit(const vg_layer *l, vg_sig *a, int32_t *c,
                              vg_sig *r)
{
    vg_sig *o = a + 3 * (uint32_t)l->n;

    sigmoids(o, l->n, o);
    return lstm_h_tanh(l, o, c, r);
}

/* ---- GRU and its kin ------------------------------------------------ */

/* Cho et al. 2014 as in cuDNN: r scales U h, not h. */
static uint32_t gru_between(const vg_layer *l, vg_sig *a, int32_t *c, vg_sig *r)
{
    (void)c;
    (void)r;
    sigmoids(a, 2 * (uint32_t)l->n, a);
    return 0;
}

static uint32_t gru_unit(const vg_layer *l, vg_sig *a, int32_t *c, vg_sig *r)
{
    vg_sig *n = a + 2 * (uint32_t)l->n;

    tanhs(n, l->n, n);
    return point_gru(a, n, l->n, c, r);
}

/* Cho et al. 2014: s = r h is what n reads. */
static uint32_t reset_before_between(const vg_layer *l, vg_sig *a, int32_t *c,
                                     vg_sig *r)
{
    const vg_sig *reset = a + l->n;
    vg_sig *s = a + l->rows;

    (void)gru_between(l, a, c, r);
    for (uint32_t u = 0; u < l->n; u++)
        s[u] = (vg_sig)fx_rs32(reset[u] * r[u], 14);
    return 0;
}

/* Collins et al. 2017, eq. 10-12. */
static uint32_t ugrnn_unit(const vg_layer *l, vg_sig *a, int32_t *c, vg_sig *r)
{
    sigmoids(a, l->n, a);
    tanhs(a + l->n, l->n, a + l->n);
    return point_gru(a, a + l->n, l->n, c, r);
}

/* Collins et al. 2017, eq. 13-17, the IntersectionRNN: y = g u + (1 - g) p. */
static uint32_t plus_unit(const vg_layer *l, vg_sig *a, int32_t *c, vg_sig *r)
{
    const uint32_t n = l->n;
    vg_sig *g = a + 2 * n, *p = g + n, *u = p + n, *y = a + l->rows;

    sigmoids(g, n, g);
    for (uint32_t k = 0; k < n; k++) {
        p[k] = p[k] > 0 ? p[k] : 0;
        y[k] = (vg_sig)fx_rs32(g[k] * u[k] + (VG_ONE - g[k]) * p[k], 14);
    }
    return ugrnn_unit(l, a, c, r);
}

enum {
    RNN = VG_RECURRENT,
    LSTM97 = VG_G_4S2 | VG_H_2S1 | VG_OUTPUT_GATE | VG_RECURRENT,
    LSTM = VG_OUTPUT_GATE | VG_FORGET_GATE | VG_RECURRENT,
    COUPLED = VG_OUTPUT_GATE | VG_RECURRENT
};

/* clang-format off */
/*                                     gates    reads    functions shared optional cells carry gives fields free late */
static const vg_cell rnn_tanh         = {"a",     "b",     "t",      "",    "",      "a",   0,    'h', RNN,     0, 0, NULL, tanh_unit};
static const vg_cell rnn_sigmoid      = {"a",     "b",     "s",      "",    "",      "a",   0,    'h', RNN,     0, 0, NULL, sigmoid_unit};
static const vg_cell rnn_relu         = {"a",     "b",     "r",      "",    "",      "a",   0,    'h', RNN,     0, 0, NULL, relu_unit};
static const vg_cell lstm97           = {"ifog",  "bbbb",  "sssg",   "ifo", "fo",    "g",   'c', 'h', LSTM97,  1, 0, NULL, lstm_unit};
static const vg_cell lstm             = {"ifog",  "bbbb",  "sssg",   "ifo", "",      "g",   'c', 'h', LSTM,    0, 0, NULL, lstm_unit};
static const vg_cell lstm_coupled     = {"iog",   "bbb",   "sst",    "",    "",      "g",   'c', 'h', COUPLED, 0, 0, NULL, lstm_unit};
static const vg_cell lstm_peephole    = {"ifgo",  "ppbq",  "ssts",   "",    "",      "g",   'c', 'h', LSTM,    0, 1, peephole_between, peephole_unit};
static const vg_cell gru              = {"zrnm",  "bbxh",  "sstn",   "",    "",      "nm",  'h', 'h', RNN,     0, 2, gru_between, gru_unit};
static const vg_cell gru_reset_before = {"zrn",   "bbs",   "sst",    "",    "",      "n",   'h', 'h', RNN,     0, 1, reset_before_between, gru_unit};
static const vg_cell indrnn           = {"a",     "d",     "r",      "",    "",      "a",   0,    'h', RNN,     0, 0, NULL, relu_unit};
static const vg_cell ugrnn            = {"zn",    "bb",    "st",     "",    "",      "n",   'h', 'h', RNN,     0, 0, NULL, ugrnn_unit};
static const vg_cell plus_rnn         = {"znypu", "bbbbx", "stsrn",  "",    "",      "npu", 'h', 'y', RNN,     0, 0, NULL, plus_unit};
/* clang-format on */

#define HAS(code, cell) (VG_HAS_CELL(VG_##code) ? &(cell) : NULL)

/* By code; what a build leaves out is null. */
const vg_cell *const vg_cells[VG_N_CELLS] = {
    HAS(RNN_TANH, rnn_tanh),
    HAS(RNN_SIGMOID, rnn_sigmoid),
    HAS(RNN_RELU, rnn_relu),
    HAS(LSTM97, lstm97),
    HAS(LSTM, lstm),
    HAS(LSTM_COUPLED, lstm_coupled),
    HAS(LSTM_PEEPHOLE, lstm_peephole),
    HAS(GRU, gru),
    HAS(GRU_RESET_BEFORE, gru_reset_before),
    HAS(INDRNN, indrnn),
    HAS(UGRNN, ugrnn),
    HAS(PLUS_RNN, plus_rnn),
};

#undef HAS
