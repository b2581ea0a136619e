/* layer.c - what is the same for every cell: affine maps, and the readout.
 * words.c has the maps of the other layout.
 */
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
    int padded;           /* z1 can be read to the end of a padded row */
} sources;

/* Two rows at once.  The second is the first again after the last one. */
typedef struct {
    int64_t sum[2];
    uint32_t apart; /* bytes between them */
    uint32_t bits;  /* a weight */
} two_rows;

/* sum[2] += w z over n columns from the one at w on. */
static void add_products(two_rows *t, const void *w, const vg_sig *z,
                         uint32_t n)
{
    const void *w1 = (const uint8_t *)w + t->apart;

    if (t->bits == 8)
        DOT_W8(w, w1, z, n, t->sum);
    else
        DOT_W16(w, w1, z, n, t->sum);
}

static int32_t weight(const uint8_t *blob, const vg_map *m, uint32_t row,
                      uint32_t j)
{
    const void *w = blob + m->weights;
    const uint32_t at = row * vg_stride(m) + j;

    return m->bits == 8 ? ((const int8_t *)w)[at] : ((const int16_t *)w)[at];
}

static int exp_of(const uint8_t *blob, const vg_map *m, uint32_t row)
{
    return blob[m->exps + (m->bits == 8 ? row : 0)];
}

/* sum[2] += w z of the one column that a symbol is. */
static void add_symbol(const vg_map *m, const sources *s, uint32_t row,
                       two_rows *t)
{
    const uint32_t j = (s->z1 ? s->n1 : 0) + s->symbol->symbol;

    t->sum[0] += weight(s->blob, m, row, j) * s->symbol->one;
    if (t->apart)
        t->sum[1] += weight(s->blob, m, row + 1, j) * s->symbol->one;
}

/* What the last column of a row adds: h or c of the row's own cell. */
static int64_t own_product(const vg_map *m, const sources *s, uint32_t row)
{
    const int32_t w = weight(s->blob, m, row, m->columns - 1);

    return s->own_h ? w * s->own_h[row] : w * fx_rs(s->own_c[row], 6);
}

/* sum[2] = b of two rows from row on.  Returns where the first row is. */
static const uint8_t *start(const uint8_t *blob, const vg_map *m, uint32_t row,
                            two_rows *t)
{
    const int32_t *b = (const int32_t *)(const void *)(blob + m->biases);
    const uint32_t next = row + 1 < m->rows ? 1 : 0;
    const uint32_t step = vg_stride(m) * (m->bits / 8u);

    t->sum[0] = m->biases ? b[row] : 0;
    t->sum[1] = m->biases ? b[row + next] : 0;
    t->apart = next ? step : 0;
    t->bits = m->bits;
    return blob + m->weights + row * step;
}

/* sum[2] = b + W z of two rows from row on. */
static void accumulate(const vg_map *m, const sources *s, uint32_t row,
                       two_rows *t)
{
    const uint8_t *w = start(s->blob, m, row, t);

    if (s->z1)
        add_products(t, w, s->z1, s->n1);
    if (s->n2 && s->z2)
        add_products(t, w + s->n1 * (m->bits / 8u), s->z2, s->n2);
    if (s->symbol)
        add_symbol(m, s, row, t);
    if (s->own_h || s->own_c) {
        t->sum[0] += own_product(m, s, row);
        if (t->apart)
            t->sum[1] += own_product(m, s, row + 1);
    }
}

static int at_bound(vg_sig a)
{
    return a == INT16_MIN || a == INT16_MAX;
}

/* a[2] = sat16(rs(b + W z, E - arg_exp)) of two rows from row on, or of the
 * last one.  Returns the clamps that count. */
static VG_APART uint32_t affine_rows(const vg_map *m, const sources *s,
                                     uint32_t row, vg_sig *a)
{
    uint32_t clamped = 0;
    two_rows t;

    accumulate(m, s, row, &t);
    for (uint32_t k = 0; k < 2 && row + k < m->rows; k++) {
        const int shift = exp_of(s->blob, m, row + k) - m->arg_exp;
        const int64_t x = fx_rs31(t.sum[k], shift);
        VG_ASSERT(shift >= 1 && shift <= 31);
        a[k] = fx_narrow(x);
        if (a[k] != x && m->counts & (x < 0 ? VG_COUNT_LOW : VG_COUNT_HIGH))
            clamped++;
    }
    return clamped;
}

/* Is one vector all that the rows read, and such a one as kernels want? */
static int is_whole(const sources *s)
{
    return s->padded && s->z1 && !((uintptr_t)s->z1 & 3) && !s->n2 &&
           !s->symbol && !s->own_h && !s->own_c;
}

/* All rows by one call of a kernel. */
static VG_APART void affine_whole(const vg_map *m, const sources *s, vg_sig *a)
{
    const uint8_t *b = s->blob + m->biases;
    dot_map map;

    map.w = s->blob + m->weights;
    map.b = m->biases ? (const int32_t *)(const void *)b : NULL;
    map.exps = s->blob + m->exps;
    map.z = s->z1;
    map.rows = m->rows;
    map.stride = vg_stride(m);
    map.arg_exp = m->arg_exp;
    if (m->bits == 8)
        DOT_MAP8(&map, a);
    else
        DOT_MAP16(&map, a);
}

/* a[rows].  Returns the clamps that count; the kernels do not, so rows at a
 * bound are looked at again. */
static VG_APART uint32_t affine(const vg_map *m, const sources *s, vg_sig *a)
{
    const int whole = is_whole(s);
    uint32_t clamped = 0;

    if (whole) {
        affine_whole(m, s, a);
        if (!m->counts)
            return 0;
    }
    for (uint32_t row = 0; row < m->rows; row += 2)
        if (!whole || at_bound(a[row]) ||
            (row + 1 < m->rows && at_bound(a[row + 1])))
            clamped += affine_rows(m, s, row, a + row);
    return clamped;
}

/* Gates n and m of a gru at once, for r acc_m joins acc_n: m reads h, which is
 * in z2.  r lies before a, the value of m, acc_m on q11, behind it.  Neither
 * acc is above 2^46 + 2^31, so that the sum is below 2^62. */
static VG_APART uint32_t affine_with_reset(const vg_map *n, const sources *s,
                                           vg_sig *a)
{
    const vg_map *m = n + 1;
    int64_t acc_m[2];
    const uint8_t *w;
    two_rows t;

    for (uint32_t row = 0; row < n->rows; row++, a++) {
        const int e = exp_of(s->blob, n, row), odd = row & 1;
        if (!odd) {
            add_products(&t, start(s->blob, m, row, &t), s->z2, m->columns);
            acc_m[0] = t.sum[0];
            acc_m[1] = t.sum[1];
            w = start(s->blob, n, row, &t);
            if (s->z1)
                add_products(&t, w, s->z1, s->n1);
            else
                add_symbol(n, s, row, &t);
        }
        *a = fx_narrow(
            fx_rs(t.sum[odd] * VG_ONE + acc_m[odd] * *(a - n->rows), e + 2));
        a[n->rows] = fx_narrow(fx_rs(acc_m[odd], e - 11));
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
    s->padded = 1;
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
}

static VG_APART uint32_t gate_in_rows(const vg_run *r, const vg_layer *l,
                                      const vg_map *gate,
                                      const vg_input *symbol, vg_sig *a)
{
    sources s;

    find_sources(r, l, gate, symbol, &s);
    if (l->cell == VG_GRU && gate->reads == 'x') /* with the next one */
        return affine_with_reset(gate, &s, a);
    return affine(gate, &s, a);
}

static uint32_t one_gate(const vg_run *r, const vg_layer *l, const vg_map *gate,
                         const vg_input *symbol, vg_sig *a)
{
    if (gate->group == 1)
        return gate_in_rows(r, l, gate, symbol, a);
    if (l->cell != VG_GRU || gate->reads != 'x')
        return vg_words_map(r, l, gate, symbol, NULL, a);
    vg_words_reset(r, l, gate, symbol, a);
    return 0;
}

void vg_layer_step(vg_run *r, const vg_layer *l, const vg_input *symbol)
{
    const vg_cell *cell = &vg_cells[l->cell];
    vg_sig *values = vg_run_values(r), *a = values;
    uint32_t clamped = 0;

    for (uint32_t k = 0; k < l->n_gates; k++) {
        const vg_map *gate = &l->gate[k];
        if (k == l->n_early) {
            clamped += cell->between(l, values, vg_run_c(r, l), vg_run_r(r, l));
            k += l->cell == VG_GRU; /* the last two are one turn */
        }
        clamped += one_gate(r, l, gate, symbol, a);
        a += gate->rows;
    }
    r->saturated +=
        clamped + cell->unit(l, values, vg_run_c(r, l), vg_run_r(r, l));
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

static VG_APART uint32_t logits_in_rows(const vg_run *r, const vg_sig *h,
                                        const vg_input *x, vg_sig *logits)
{
    const vg_readout *out = vg_run_readout(r);
    sources s;

    memset(&s, 0, sizeof s);
    s.blob = r->model->blob;
    s.z1 = h;
    s.n1 = out->n_h;
    s.padded = !(out->n_h & 3); /* h may end where a buffer does */
    s.z2 = x->x;
    s.n2 = out->map.columns - out->n_h;
    if (!x->x && s.n2)
        s.symbol = x;
    return affine(&out->map, &s, logits);
}

void vg_readout_step(vg_run *r, const vg_sig *h, const vg_input *x, vg_sig *y)
{
    const vg_readout *out = vg_run_readout(r);
    const uint32_t n = out->map.rows;
    vg_sig *logits = vg_run_signals(r, out->logits);

    if (!n) { /* none: y = h */
        memcpy(logits, h, 2 * (size_t)r->model->n_out);
        memcpy(y, h, 2 * (size_t)r->model->n_out);
        return;
    }
    r->saturated += out->map.group > 1
                        ? vg_words_map(r, NULL, &out->map, x, h, logits)
                        : logits_in_rows(r, h, x, logits);
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
