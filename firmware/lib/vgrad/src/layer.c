/* layer.c - what is the same for every cell: affine maps, and the readout. */
#include "core.h"
#include "dot_c.h"
#include "lut.h"

/* sum_j w_j z_j over n columns of a row. */
static int64_t dot(const vg_map *m, const uint8_t *w, const vg_sig *z,
                   uint32_t n)
{
    if (m->bits == 8)
        return dot_w8((const int8_t *)w, z, n);
    return dot_w16((const int16_t *)(const void *)w, z, n);
}

void vg_affine(const uint8_t *blob, const vg_map *m, const vg_sig *z1,
               uint32_t n1, const vg_sig *z2, vg_sig *a, fx_clamps *k)
{
    const uint32_t size = m->bits / 8u;
    const uint8_t *exps = blob + m->exps;
    const uint8_t *row = blob + m->weights;
    const int32_t *biases =
        m->biases ? (const int32_t *)(const void *)(blob + m->biases) : NULL;

    for (uint32_t j = 0; j < m->rows; j++, row += m->stride * size) {
        const int shift = exps[m->bits == 8 ? j : 0] - m->arg_exp;
        int64_t acc = biases ? biases[j] : 0;
        acc += dot(m, row, z1, n1);
        acc += dot(m, row + n1 * size, z2, m->columns - n1);
        VG_ASSERT(shift >= 1 && shift <= 31);
        a[j] = fx_sat16(fx_rs(acc, shift), k);
    }
}

uint32_t vg_layer_step(const uint8_t *blob, const vg_layer *l, int32_t *c,
                       vg_sig *z, vg_sig *a)
{
    vg_map map = l->map; /* one gate of it after the other */
    vg_sig *to = a;
    fx_clamps k = {0, 0};

    for (uint32_t gate = 0; gate < l->n_gates; gate++) {
        map.rows = l->gate_rows[gate];
        map.biases = l->gate_biases[gate];
        map.arg_exp = l->gate_exp[gate];
        vg_affine(blob, &map, z, map.columns, z, to, &k);
        to += map.rows;
        map.weights += map.rows * map.stride * (map.bits / 8u);
        map.exps += map.bits == 8 ? map.rows : 1;
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
                         const vg_sig *h, const vg_sig *x, vg_sig *logits,
                         vg_sig *y)
{
    const uint32_t n = r->map.rows;
    fx_clamps k = {0, 0};

    vg_affine(blob, &r->map, h, r->n_h, x, logits, &k);
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
