/* widen.c - a blob with 16-bit weights from one with 8 bits, for training. */
#include <string.h>

#include "train.h"

static uint32_t weights_of(const vg_map *m, uint32_t n)
{
    uint32_t weights = 0; /* a multiple of 4 */

    for (uint32_t k = 0; k < n; k++)
        weights += m[k].rows * vg_stride(&m[k]);
    return weights;
}

/* Bytes by which 16-bit weights make n maps longer. */
static uint32_t growth(const vg_map *m, uint32_t n)
{
    uint32_t rows = 0;

    if (vg_bits_of(m) != 8)
        return 0;
    for (uint32_t k = 0; k < n; k++)
        rows += m[k].rows;
    return weights_of(m, n) - (((rows + 3) & ~3u) - ((n + 3) & ~3u));
}

VG_ONCE uint64_t vg_widen_more(const vg_model *m, uint32_t *end)
{
    vg_walk w = vg_walk_start(m);
    vg_layer l;
    vg_readout r;
    uint64_t more = 0;

    for (uint32_t k = 0; k < m->n_layers; k++) {
        (void)vg_walk_layer(&w, &l);
        more += growth(l.gate, l.n_gates);
    }
    if (vg_has_readout(m)) {
        (void)vg_walk_readout(&w, m, &r);
        more += growth(&r.map, 1);
    }
    *end = w.at;
    return more;
}

/* ---- the blob without its weights ----------------------------------- */

static uint8_t *put(uint8_t *to, const uint8_t *from, uint32_t n)
{
    memcpy(to, from, n);
    return to + n;
}

/* One exponent for a gate whose rows have one each: the smallest, plus five of
 * the eight bits that the weights gain; three are headroom. */
static uint8_t gate_exp(const uint8_t *exps, uint32_t rows, uint32_t arg_exp)
{
    uint32_t least = exps[0];

    for (uint32_t row = 1; row < rows; row++)
        if (exps[row] < least)
            least = exps[row];
    return (uint8_t)(least + 5 < arg_exp + 31 ? least + 5 : arg_exp + 31);
}

/* n maps' exponents, one a gate, and zeros for their weights. */
static uint8_t *put_maps(const vg_model *m, const vg_map *maps, uint32_t n,
                         uint8_t *to)
{
    const uint32_t size = ((n + 3) & ~3u) + 2 * weights_of(maps, n);

    memset(to, 0, size);
    for (uint32_t k = 0; k < n; k++)
        to[k] = gate_exp(m->blob + maps[k].exps, maps[k].rows, maps[k].arg_exp);
    return to + size;
}

VG_ONCE void vg_widen(const vg_model *m, uint32_t sections, uint8_t *to)
{
    vg_walk w = vg_walk_start(m);
    uint32_t at = w.at; /* of the record */
    vg_layer l;
    vg_readout r;

    if (VG_BITS(w.bits) == 16) {
        vg_move_bytes(to, m->blob, sections);
        return;
    }
    to = put(to, m->blob, at);
    *(to - at + 16) = 16; /* weight_bits */
    for (uint32_t k = 0; k < m->n_layers; k++, at = w.at) {
        (void)vg_walk_layer(&w, &l);
        to = put(to, m->blob + at, l.gate[0].exps - at);
        to = put_maps(m, l.gate, l.n_gates, to);
        at = l.gate[0].weights + weights_of(l.gate, l.n_gates);
        to = put(to, m->blob + at, w.at - at);
    }
    if (vg_has_readout(m)) {
        (void)vg_walk_readout(&w, m, &r);
        to = put(to, m->blob + at, r.map.exps - at);
        to = put_maps(m, &r.map, 1, to);
        at = r.map.weights + weights_of(&r.map, 1);
        to = put(to, m->blob + at, w.at - at);
    }
    (void)put(to, m->blob + w.at, sections - w.at);
}

/* ---- the weights ---------------------------------------------------- */

static void widen_gate(vg_train *t, const vg_model *m, const vg_map *map,
                       const vg_gate *g)
{
    const int8_t *w = (const int8_t *)(m->blob + map->weights);
    const uint8_t *exps = m->blob + map->exps;
    const uint32_t stride = vg_gate_stride(g);

    for (uint32_t row = 0; row < g->rows; row++) {
        const int shift = exps[row] - vg_exp_of(t, g); /* -5.. */
        int32_t *bias = g->biases ? vg_ints(t, g->biases) + row : NULL;
        for (uint32_t j = 0; j < stride; j++) {
            const uint32_t at = row * stride + j;
            vg_set_master(vg_to31((int64_t)*w++ * 65536, shift),
                          vg_sigs(t, g->weights) + at, vg_sigs(t, g->lo) + at);
        }
        if (bias)
            *bias = vg_master(vg_to31(*bias, shift));
    }
}

VG_ONCE void vg_widen_masters(vg_train *t, const vg_model *m)
{
    const vg_gate *g = vg_gates_of(t);
    vg_walk w = vg_walk_start(m);
    vg_layer l;
    vg_readout r;

    if (VG_BITS(w.bits) == 16)
        return;
    for (uint32_t k = 0; k < m->n_layers; k++) {
        (void)vg_walk_layer(&w, &l);
        for (uint32_t gate = 0; gate < l.n_gates; gate++)
            widen_gate(t, m, &l.gate[gate], g++);
    }
    if (!vg_has_readout(m))
        return;
    (void)vg_walk_readout(&w, m, &r);
    widen_gate(t, m, &r.map, g);
}
