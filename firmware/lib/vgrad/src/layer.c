/* layer.c - what is the same for every cell: affine maps, and the readout. */
#include <string.h>

#include "core.h"
#include "dot_c.h"
#include "lut.h"

/* What the rows of a map read: z1 in the first n1 columns and z2 in the n2
 * after them, null for the one-hot x of a symbol; and in one column more h or c
 * of the row's own cell. */
typedef struct {
    const vg_sig *z1, *z2;
    uint32_t n1, n2;
    const vg_input *symbol;
    const vg_sig *own_h;  /* null: none */
    const int32_t *own_c; /* null: none */
} sources;

/* w z over n columns of a row from column j on. */
static int64_t dot(const vg_map *m, const uint8_t *row, uint32_t j,
                   const vg_sig *z, uint32_t n)
{
    if (m->bits == 8)
        return dot_w8((const int8_t *)row + j, z, n);
    return dot_w16((const int16_t *)(const void *)row + j, z, n);
}

static int32_t weight(const vg_map *m, const uint8_t *row, uint32_t j)
{
    if (m->bits == 8)
        return ((const int8_t *)row)[j];
    return ((const int16_t *)(const void *)row)[j];
}

static const uint8_t *row_of(const uint8_t *blob, const vg_map *m, uint32_t row)
{
    return blob + m->weights + row * vg_stride(m) * (m->bits / 8u);
}

static const int32_t *biases_of(const uint8_t *blob, const vg_map *m)
{
    return m->biases ? (const int32_t *)(const void *)(blob + m->biases) : NULL;
}

static int64_t bias_of(const uint8_t *blob, const vg_map *m, uint32_t row)
{
    return m->biases ? biases_of(blob, m)[row] : 0;
}

static int exp_of(const uint8_t *blob, const vg_map *m, uint32_t row)
{
    return blob[m->exps + (m->bits == 8 ? row : 0)];
}

/* b + W z of one row. */
static int64_t accumulate(const uint8_t *blob, const vg_map *m,
                          const sources *s, uint32_t row)
{
    const uint8_t *w = row_of(blob, m, row);
    int64_t acc = bias_of(blob, m, row);

    if (s->z1)
        acc += dot(m, w, 0, s->z1, s->n1);
    if (s->n2 && s->z2)
        acc += dot(m, w, s->n1, s->z2, s->n2);
    if (s->symbol)
        acc += weight(m, w, (s->z1 ? s->n1 : 0) + s->symbol->symbol) *
               s->symbol->one;
    if (s->own_h)
        acc += weight(m, w, m->columns - 1) * s->own_h[row];
    if (s->own_c)
        acc += weight(m, w, m->columns - 1) * fx_rs(s->own_c[row], 6);
    return acc;
}

static uint32_t counted(const vg_map *m, const fx_clamps *k)
{
    return (m->counts & VG_COUNT_LOW ? k->low : 0) +
           (m->counts & VG_COUNT_HIGH ? k->high : 0);
}

/* a[rows] = sat16(rs(b + W z, E - arg_exp)), z in one piece.  Returns the
 * clamps that count. */
static uint32_t affine(const uint8_t *blob, const vg_map *m, const sources *s,
                       vg_sig *a)
{
    const uint32_t step = vg_stride(m) * (m->bits / 8u);
    const uint8_t *w = blob + m->weights, *exps = blob + m->exps;
    const int32_t *biases = biases_of(blob, m);
    fx_clamps k = {0, 0};

    for (uint32_t row = 0; row < m->rows; row++, w += step) {
        const int shift = exps[m->bits == 8 ? row : 0] - m->arg_exp;
        const int64_t acc =
            (biases ? biases[row] : 0) + dot(m, w, 0, s->z1, s->n1);
        VG_ASSERT(shift >= 1 && shift <= 31);
        a[row] = fx_sat16(fx_rs(acc, shift), &k);
    }
    return counted(m, &k);
}

/* The same of any sources. */
static uint32_t affine_of_all(const uint8_t *blob, const vg_map *m,
                              const sources *s, vg_sig *a)
{
    fx_clamps k = {0, 0};

    for (uint32_t row = 0; row < m->rows; row++) {
        const int shift = exp_of(blob, m, row) - m->arg_exp;
        VG_ASSERT(shift >= 1 && shift <= 31);
        a[row] = fx_sat16(fx_rs(accumulate(blob, m, s, row), shift), &k);
    }
    return counted(m, &k);
}

/* Gates n and m of a gru at once, for r acc_m joins acc_n: m reads h, which is
 * in z2.  r lies before a, the value of m, acc_m on q11, behind it.  Neither
 * acc is above 2^46 + 2^31, so that the sum is below 2^62. */
static uint32_t affine_with_reset(const uint8_t *blob, const vg_map *n,
                                  const sources *s, vg_sig *a)
{
    const vg_map *m = n + 1;
    fx_clamps harmless = {0, 0};

    for (uint32_t row = 0; row < n->rows; row++, a++) {
        const int e = exp_of(blob, n, row);
        const int64_t acc_m =
            bias_of(blob, m, row) +
            dot(m, row_of(blob, m, row), 0, s->z2, m->columns);
        const int64_t acc =
            accumulate(blob, n, s, row) * VG_ONE + acc_m * *(a - n->rows);
        *a = fx_sat16(fx_rs(acc, e + 2), &harmless);
        a[n->rows] = fx_sat16(fx_rs(acc_m, e - 11), &harmless);
    }
    return 0;
}

typedef uint32_t mapping(const uint8_t *blob, const vg_map *m, const sources *s,
                         vg_sig *a);

static mapping *mapping_of(const sources *s)
{
    return s->n2 || s->symbol || s->own_h || s->own_c ? affine_of_all : affine;
}

/* ---- a layer -------------------------------------------------------- */

/* What a row of a gate reads.  symbol: null, or the layer's x. */
static void find_sources(const vg_run *r, const vg_layer *l, const vg_map *gate,
                         const vg_input *symbol, sources *s)
{
    const vg_sig *h = vg_run_r(r, l);

    memset(s, 0, sizeof *s);
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
}

void vg_layer_step(vg_run *r, const vg_layer *l, const vg_input *symbol)
{
    const vg_cell *cell = &vg_cells[l->cell];
    vg_sig *to = vg_run_values(r);
    const vg_map *gate = l->gate;
    mapping *map = NULL;

    for (const vg_map *end = gate + l->n_gates; gate < end; gate++) {
        sources s;
        if (gate == l->gate + l->n_early) {
            r->saturated += cell->between(l, vg_run_values(r), vg_run_c(r, l),
                                          vg_run_r(r, l));
            if (l->cell == VG_GRU) {
                map = affine_with_reset;
                end--;
            }
        }
        find_sources(r, l, gate, symbol, &s);
        r->saturated +=
            (map ? map : mapping_of(&s))(r->model->blob, gate, &s, to);
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
    s.z1 = h;
    s.n1 = out->n_h;
    s.z2 = x->x;
    s.n2 = out->map.columns - out->n_h;
    if (!x->x && s.n2)
        s.symbol = x;
    r->saturated += mapping_of(&s)(r->model->blob, &out->map, &s, logits);
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
