/* layer.c - what is the same for every cell: affine maps, and the readout. */
#include "core.h"
#include "dot_c.h"
#include "lut.h"

/* Rows of an affine map, and what they read: z1 for the first n1 columns, z2
 * for the others, null for zeros, and, one not zero, one in the column hot. */
typedef struct {
    const uint8_t *row;
    const uint8_t *exps;
    const int32_t *biases; /* null: none */
    const vg_sig *z1, *z2;
    uint32_t n1, hot;
    int32_t one;
} rows;

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

/* a[n] = sat16(rs(b + W z, E - arg_exp)) for the next n rows.  Adds the clamps
 * to k. */
static void affine(const vg_map *m, rows *r, uint32_t n, int arg_exp, vg_sig *a,
                   fx_clamps *k)
{
    for (uint32_t j = 0; j < n; j++) {
        const int shift = r->exps[m->bits == 8 ? j : 0] - arg_exp;
        int64_t acc = r->biases ? r->biases[j] : 0;
        if (r->z1)
            acc += dot(m, r->row, 0, r->z1, r->n1);
        if (r->z2)
            acc += dot(m, r->row, r->n1, r->z2, m->columns - r->n1);
        if (r->one)
            acc += weight(m, r->row, r->hot) * r->one;
        VG_ASSERT(shift >= 1 && shift <= 31);
        a[j] = fx_sat16(fx_rs(acc, shift), k);
        r->row += m->stride * (m->bits / 8u);
    }
    r->exps += m->bits == 8 ? n : 1;
}

static const int32_t *biases_at(const uint8_t *blob, uint32_t at)
{
    return at ? (const int32_t *)(const void *)(blob + at) : NULL;
}

uint32_t vg_layer_step(const uint8_t *blob, const vg_layer *l, int32_t *c,
                       vg_sig *z, const vg_input *symbol, vg_sig *a)
{
    rows r = {
        blob + l->map.weights, blob + l->map.exps, NULL, z, NULL, 0, 0, 0};
    vg_sig *to = a;
    fx_clamps k = {0, 0};

    r.n1 = l->map.columns;
    if (symbol) {
        r.z1 = NULL;
        r.z2 = z + l->n_in;
        r.n1 = l->n_in;
        r.hot = symbol->symbol;
        r.one = symbol->one;
    }
    for (uint32_t gate = 0; gate < l->n_gates; gate++) {
        r.biases = biases_at(blob, l->gate_biases[gate]);
        affine(&l->map, &r, l->gate_rows[gate], l->gate_exp[gate], to, &k);
        to += l->gate_rows[gate];
    }
    return vg_cells[l->cell].unit(l, a, c, z + l->n_in, k);
}

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

uint32_t vg_readout_step(const uint8_t *blob, const vg_readout *r,
                         const vg_sig *h, const vg_input *x, vg_sig *logits,
                         vg_sig *y)
{
    const uint32_t n = r->map.rows;
    rows all = {blob + r->map.weights,
                blob + r->map.exps,
                biases_at(blob, r->map.biases),
                h,
                x->x,
                0,
                0,
                0};
    fx_clamps k = {0, 0};

    all.n1 = r->n_h;
    if (!x->x && r->map.columns > r->n_h) {
        all.hot = r->n_h + x->symbol;
        all.one = x->one;
    }
    affine(&r->map, &all, n, r->map.arg_exp, logits, &k);
    switch (r->output) {
    case VG_LOGISTIC:
        for (uint32_t j = 0; j < n; j++)
            y[j] = (vg_sig)lut_sigmoid(logits[j]);
        return 0;
    case VG_SOFTMAX:
        softmax(logits, n, r->map.arg_exp, y);
        break;
    default:
        for (uint32_t j = 0; j < n; j++)
            y[j] = logits[j];
    }
    return k.low + k.high;
}
