/* layer.c - what is the same for every cell: affine maps, and the readout. */
#include <string.h>

#include "core.h"
#include "dot.h"
#include "lut.h"

/* What the rows of a map read: z1 in the first n1 columns and z2 in the n2
 * after them, null for the one-hot x of a symbol; and in one column more h or c
 * of the row's own cell. */
typedef struct {
    const uint8_t *blob; /* where the weights are, too */
    const vg_sig *z1, *z2;
    uint32_t n1, n2;
    const vg_input *symbol;
    const vg_sig *own_h;  /* null: none */
    const int32_t *own_c; /* null: none */
    vg_wide wide;         /* of words: z1 and z2 */
} sources;

/* Rows at once: a group of words, or two.  Then the second is the first again
 * after the last one. */
typedef struct {
    int64_t sum[4];
    uint32_t apart; /* bytes between two */
    uint32_t bits;  /* a weight */
} some_rows;

static uint32_t at_once(const vg_map *m)
{
    return m->group > 1 ? m->group : 2;
}

/* sum[2] += w z over n columns from the one at w on. */
static void add_products(some_rows *t, const void *w, const vg_sig *z,
                         uint32_t n)
{
    const void *w1 = (const uint8_t *)w + t->apart;

    if (t->bits == 8)
        DOT_W8(w, w1, z, n, t->sum);
    else
        DOT_W16(w, w1, z, n, t->sum);
}

static int exp_of(const uint8_t *blob, const vg_map *m, uint32_t row)
{
    return blob[m->exps + (m->bits == 8 ? row : 0)];
}

/* What a row reads in one column: of a symbol, and the last one, h or c of the
 * row's own cell. */
static int64_t lone_products(const vg_map *m, const sources *s, uint32_t row)
{
    int64_t sum = 0;

    if (s->symbol) {
        const uint32_t j = (s->z1 ? s->n1 : 0) + s->symbol->symbol;
        sum += vg_weight(s->blob, m, row, j) * s->symbol->one;
    }
    if (s->own_h || s->own_c) {
        const int32_t w = vg_weight(s->blob, m, row, m->columns - 1);
        sum += s->own_h ? w * s->own_h[row] : w * fx_rs(s->own_c[row], 6);
    }
    return sum;
}

/* sum[] = b of rows from row on.  Returns where the first row is. */
static const uint8_t *start(const uint8_t *blob, const vg_map *m, uint32_t row,
                            some_rows *t)
{
    const int32_t *b = (const int32_t *)(const void *)(blob + m->biases);
    const uint32_t step = vg_stride(m) * (m->bits / 8u);

    for (uint32_t k = 0; k < at_once(m); k++)
        t->sum[k] = m->biases && row + k < m->rows ? b[row + k] : 0;
    t->apart = row + 1 < m->rows ? step : 0;
    t->bits = m->bits;
    return blob + m->weights + row * step;
}

/* sum[] = b + W z of rows from row on. */
static void accumulate(const vg_map *m, const sources *s, uint32_t row,
                       some_rows *t)
{
    const uint8_t *w = start(s->blob, m, row, t);

    if (m->group > 1) {
        vg_words_add(s->blob, m, &s->wide, row, t->sum);
    } else {
        if (s->z1)
            add_products(t, w, s->z1, s->n1);
        if (s->n2 && s->z2)
            add_products(t, w + s->n1 * (m->bits / 8u), s->z2, s->n2);
    }
    if (s->symbol || s->own_h || s->own_c)
        for (uint32_t k = 0; k < at_once(m) && row + k < m->rows; k++)
            t->sum[k] += lone_products(m, s, row + k);
}

/* a[rows] = sat16(rs(b + W z, E - arg_exp)).  Returns the clamps that count. */
static uint32_t affine(const vg_map *m, const sources *s, vg_sig *a)
{
    const uint32_t last = at_once(m) - 1;
    uint32_t clamped = 0;
    some_rows t;

    for (uint32_t row = 0; row < m->rows; row++) {
        const int shift = exp_of(s->blob, m, row) - m->arg_exp;
        int64_t x;
        VG_ASSERT(shift >= 1 && shift <= 31);
        if (!(row & last))
            accumulate(m, s, row, &t);
        x = fx_rs31(t.sum[row & last], shift);
        a[row] = fx_narrow(x);
        if (a[row] != x && m->counts & (x < 0 ? VG_COUNT_LOW : VG_COUNT_HIGH))
            clamped++;
    }
    return clamped;
}

/* Gates n and m of a gru at once, for r acc_m joins acc_n: m reads h, which is
 * in z2.  r lies before a, the value of m, acc_m on q11, behind it.  Neither
 * acc is above 2^46 + 2^31, so that the sum is below 2^62. */
static uint32_t affine_with_reset(const vg_map *n, const sources *s, vg_sig *a)
{
    const vg_map *m = n + 1;
    const uint32_t last = at_once(n) - 1;
    sources h;
    some_rows acc_n, acc_m;

    memset(&h, 0, sizeof h);
    h.blob = s->blob;
    h.z1 = s->z2;
    h.n1 = m->columns;
    if (m->group > 1)
        h.wide = vg_words_widen(s->wide.end, h.z1, h.n1, NULL, 0);
    for (uint32_t row = 0; row < n->rows; row++, a++) {
        const int e = exp_of(s->blob, n, row);
        const uint32_t k = row & last;
        if (!k) {
            accumulate(n, s, row, &acc_n);
            accumulate(m, &h, row, &acc_m);
        }
        *a = fx_narrow(fx_rs(
            acc_n.sum[k] * VG_ONE + acc_m.sum[k] * *(a - n->rows), e + 2));
        a[n->rows] = fx_narrow(fx_rs(acc_m.sum[k], e - 11));
    }
    return 0;
}

/* ---- a layer -------------------------------------------------------- */

/* What a row of a gate reads.  symbol: null, or the layer's x. */
static void find_sources(const vg_run *r, const vg_layer *l, const vg_map *gate,
                         const vg_input *symbol, sources *s)
{
    const vg_sig *h = vg_run_r(r, l);

    memset(s, 0, sizeof *s);
    s->blob = r->model->blob;
    s->z1 = vg_run_signals(r, l->z);
    s->n1 = l->n_in;
    s->z2 = h;
    switch (gate->reads) {
    case 'b':
        s->n2 = l->n_z - l->n_in;
        break;
    case 'd':
        s->own_h = h;
        break;
    case 'p':
    case 'q':
        s->own_c = vg_run_c(r, l);
        s->n2 = l->n;
        break;
    case 's':
        s->z2 = vg_run_values(r) + l->rows;
        s->n2 = l->n;
        break;
    default: /* x */
        break;
    }
    if (symbol) {
        s->z1 = NULL;
        s->symbol = symbol;
    } else if (s->z2 == h) { /* one piece */
        s->n1 += s->n2;
        s->n2 = 0;
    }
    if (gate->group > 1)
        s->wide = vg_words_widen(vg_run_wide(r), s->z1, s->n1,
                                 s->n2 ? s->z2 : NULL, s->n2);
}

void vg_layer_step(vg_run *r, const vg_layer *l, const vg_input *symbol)
{
    const vg_cell *cell = &vg_cells[l->cell];
    vg_sig *to = vg_run_values(r);
    uint32_t (*map)(const vg_map *, const sources *, vg_sig *) = affine;
    sources s;

    for (uint32_t k = 0; k < l->n_gates; k++) {
        const vg_map *gate = &l->gate[k];
        if (k == l->n_early) {
            r->saturated += cell->between(l, vg_run_values(r), vg_run_c(r, l),
                                          vg_run_r(r, l));
            if (l->cell == VG_GRU) { /* the last two at once */
                map = affine_with_reset;
                k++;
            }
        }
        if (!k || gate->reads != gate[-1].reads)
            find_sources(r, l, gate, symbol, &s);
        r->saturated += map(gate, &s, to);
        to += gate->rows;
    }
    r->saturated +=
        cell->unit(l, vg_run_values(r), vg_run_c(r, l), vg_run_r(r, l));
}

/* ---- the readout ---------------------------------------------------- */

/* y_k = floor((2^15 p_k + P) / 2 P), p_k = 2^16 exp(z_k - max z) rounded, P
 * their sum.  Every p is at most 2^16 and n < 2^15: 2 P < 2^32. */
static void softmax(const vg_sig *logits, uint32_t n, int e, vg_sig *y)
{
    int32_t top = logits[0];
    uint32_t sum = 0;

    for (uint32_t k = 1; k < n; k++)
        if (logits[k] > top)
            top = logits[k];
    for (uint32_t k = 0; k < n; k++)
        sum += lut_exp((uint32_t)(top - logits[k]), e);
    for (uint32_t k = 0; k < n; k++) {
        const uint32_t p = lut_exp((uint32_t)(top - logits[k]), e);
        y[k] = (vg_sig)((32768u * p + sum) / (2u * sum));
    }
}

void vg_readout_step(vg_run *r, const vg_sig *h, const vg_input *x, vg_sig *y)
{
    const vg_readout *out = vg_run_readout(r);
    const uint32_t n = out->map.rows;
    vg_sig *logits = vg_run_signals(r, out->logits);
    sources s;

    if (!n) { /* none: y = h */
        memcpy(logits, h, 2 * (size_t)r->model->n_out);
        memcpy(y, h, 2 * (size_t)r->model->n_out);
        return;
    }
    memset(&s, 0, sizeof s);
    s.blob = r->model->blob;
    s.z1 = h;
    s.n1 = out->n_h;
    s.z2 = x->x;
    s.n2 = out->map.columns - out->n_h;
    if (!x->x && s.n2)
        s.symbol = x;
    if (out->map.group > 1)
        s.wide = vg_words_widen(vg_run_wide(r), h, s.n1, s.z2, s.n2);
    r->saturated += affine(&out->map, &s, logits);
    switch (out->output) {
    case VG_LOGISTIC:
        for (uint32_t j = 0; j < n; j++)
            y[j] = (vg_sig)lut_sigmoid(logits[j]);
        break;
    case VG_SOFTMAX:
        softmax(logits, n, out->map.arg_exp, y);
        break;
    default:
        for (uint32_t j = 0; j < n; j++)
            y[j] = logits[j];
    }
}
