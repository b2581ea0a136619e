/* walk.c - from record to record of a blob, each checked.  BLOB.md is the
 * format.
 */
#include <string.h>

#include "core.h"

enum {
    LAYER_CELL_BIASES = 1,
    LAYER_GATE_BIASES = 2,
    LAYER_INITIAL = 4,
    READOUT_BIASES = 1,
    READOUT_SHORTCUTS = 2,
    LAYER_HEAD = 12,
    READOUT_HEAD = 8
};

vg_walk vg_walk_start(const vg_model *m)
{
    vg_walk w;

    w.blob = m->blob;
    w.at = VG_HEADER;
    if (m->blob[VG_AT_FLAGS] & VG_HAS_SCALING)
        w.at += (uint32_t)VG_CHANNEL * m->n_in;
    w.end = m->size - 4;
    w.n_in = m->n_in;
    w.bits = m->blob[VG_AT_BITS];
    return w;
}

int vg_walk_skip(vg_walk *w, uint64_t count, uint32_t size, uint32_t *at)
{
    const uint64_t bytes = count * size;
    const uint64_t padded = (bytes + 3) & ~(uint64_t)3;

    if (padded > w->end - w->at)
        return VG_E_SIZE;
    for (uint64_t k = bytes; k < padded; k++)
        if (w->blob[w->at + k])
            return VG_E_FORMAT;
    *at = w->at;
    w->at += (uint32_t)padded;
    return VG_OK;
}

/* ---- records -------------------------------------------------------- */

/* The exponents, then the matrix.  n_exps of 16-bit weights. */
static int read_map(vg_walk *w, vg_map *m, uint32_t rows, uint32_t columns,
                    uint32_t n_exps)
{
    int err;

    memset(m, 0, sizeof *m);
    m->bits = w->bits;
    m->rows = rows;
    m->columns = columns;
    m->stride = (columns + 3) & ~(uint32_t)3;
    err = vg_walk_skip(w, w->bits == 8 ? rows : n_exps, 1, &m->exps);
    if (!err)
        err = vg_walk_skip(w, (uint64_t)rows * m->stride, w->bits / 8u,
                           &m->weights);
    return err;
}

/* 1 <= E - arg <= 31 for n exponents. */
static int shifts_ok(const uint8_t *exps, uint32_t n, uint32_t arg)
{
    for (uint32_t k = 0; k < n; k++)
        if (exps[k] < arg + 1 || exps[k] > arg + 31)
            return 0;
    return 1;
}

static int has(const char *letters, char letter)
{
    while (*letters && *letters != letter)
        letters++;
    return *letters != '\0';
}

static uint8_t argument_exp(const vg_layer *l, char function)
{
    switch (function) {
    case 's':
        return 11;
    case 't':
        return 12;
    case 'r':
        return l->h_exp;
    default: /* g */
        return (l->fields & VG_G_MASK) == VG_G_TANH ? 12 : 11;
    }
}

static int fields_ok(const vg_cell *cell, uint8_t f)
{
    if (!cell->free_fields)
        return f == cell->fields;
    return (f & VG_G_MASK) <= VG_G_S && (f & VG_H_MASK) <= VG_H_IDENTITY &&
           (!(f & VG_FEEDBACK) || (f & VG_RECURRENT));
}

/* Is h within +-1, so that its exponent is 14? */
static int bounded(const vg_cell *cell, uint8_t fields)
{
    if (*cell->carry)
        return (fields & VG_H_MASK) != VG_H_IDENTITY;
    return !has(cell->functions, 'r');
}

/* The twelve bytes at the front.  Returns the flags. */
static int read_head(const vg_walk *w, const uint8_t *p, vg_layer *l)
{
    const vg_cell *cell;

    if (p[0] >= VG_N_CELLS || p[2] > 7 || get16(p + 10))
        return VG_E_FORMAT;
    cell = &vg_cells[p[0]];
    memset(l, 0, sizeof *l);
    l->cell = p[0];
    l->fields = p[1];
    l->h_exp = p[3];
    l->n = (uint16_t)get16(p + 4);
    l->block = (uint16_t)get16(p + 6);
    l->n_in = (uint16_t)get16(p + 8);
    if (!fields_ok(cell, l->fields) || l->h_exp > VG_MAX_EXP ||
        (l->h_exp < VG_MAX_EXP && bounded(cell, l->fields)))
        return VG_E_FORMAT;
    if (!l->n || !l->block || l->n % l->block || l->n_in != w->n_in ||
        (l->block > 1 && !*cell->shared))
        return VG_E_FORMAT;
    return p[2];
}

/* Which gates there are, with how many rows each. */
static void read_gates(vg_layer *l, const vg_cell *cell)
{
    const uint32_t blocks = (uint32_t)l->n / l->block;

    l->n_r = l->n;
    if (l->fields & VG_FEEDBACK)
        l->n_r += l->fields & VG_OUTPUT_GATE ? 2 * blocks : blocks;
    l->n_c = *cell->carry ? l->n : 0;
    for (const char *k = cell->gates; *k; k++) {
        const uint8_t field = *k == 'f' ? VG_FORGET_GATE : VG_OUTPUT_GATE;
        if (has(cell->optional, *k) && !(l->fields & field))
            continue;
        l->gate_rows[l->n_gates] = has(cell->shared, *k) ? blocks : l->n;
        l->gate_exp[l->n_gates] =
            argument_exp(l, cell->functions[k - cell->gates]);
        /* for now whose bias it is; read_biases puts the place there */
        l->gate_biases[l->n_gates] =
            has(cell->cells, *k) ? LAYER_CELL_BIASES : LAYER_GATE_BIASES;
        l->n_gates++;
    }
}

static int read_biases(vg_walk *w, vg_layer *l, int flags)
{
    for (uint32_t k = 0; k < l->n_gates; k++) {
        const int there = (int)l->gate_biases[k] & flags;
        int err;
        l->gate_biases[k] = 0;
        if (there &&
            (err = vg_walk_skip(w, l->gate_rows[k], 4, &l->gate_biases[k])))
            return err;
    }
    return VG_OK;
}

uint32_t vg_image_size(const vg_layer *l)
{
    return 4 * l->n_c + ((2 * l->n_r + 3) & ~(uint32_t)3);
}

/* Every c within +-2^30, and zeros in the padding. */
int vg_image_ok(const vg_layer *l, const uint8_t *image)
{
    for (uint32_t k = 0; k < l->n_c; k++) {
        const uint32_t c = get32(image + 4 * (size_t)k);
        if (c > 0x40000000 && c < 0xC0000000)
            return 0;
    }
    for (uint32_t k = 4 * l->n_c + 2 * l->n_r; k < vg_image_size(l); k++)
        if (image[k])
            return 0;
    return 1;
}

int vg_walk_layer(vg_walk *w, vg_layer *l)
{
    uint32_t at, rows = 0, first = 0;
    int flags, err;

    if ((err = vg_walk_skip(w, LAYER_HEAD, 1, &at)) != 0)
        return err;
    if ((flags = read_head(w, w->blob + at, l)) < 0)
        return flags;
    read_gates(l, &vg_cells[l->cell]);
    for (uint32_t k = 0; k < l->n_gates; k++)
        rows += l->gate_rows[k];
    err =
        read_map(w, &l->map, rows,
                 l->n_in + (l->fields & VG_RECURRENT ? l->n_r : 0), l->n_gates);
    if (err)
        return err;
    for (uint32_t k = 0; k < l->n_gates; k++) {
        const uint32_t n = w->bits == 8 ? l->gate_rows[k] : 1;
        if (!shifts_ok(w->blob + l->map.exps + first, n, l->gate_exp[k]))
            return VG_E_FORMAT;
        first += n;
    }
    if ((err = read_biases(w, l, flags)) != 0)
        return err;
    if (flags & LAYER_INITIAL) {
        if ((err = vg_walk_skip(w, vg_image_size(l), 1, &l->initial)) != 0)
            return err;
        if (!vg_image_ok(l, w->blob + l->initial))
            return VG_E_FORMAT;
    }
    w->n_in = l->n;
    return VG_OK;
}

int vg_has_readout(const vg_model *m)
{
    return m->blob[VG_AT_FLAGS] & VG_HAS_READOUT;
}

int vg_walk_readout(vg_walk *w, const vg_model *m, vg_readout *r)
{
    const uint8_t *p;
    uint32_t at, columns;
    int err;

    if ((err = vg_walk_skip(w, READOUT_HEAD, 1, &at)) != 0)
        return err;
    p = w->blob + at;
    if (p[0] > VG_SOFTMAX || p[1] > 3 || p[2] > VG_MAX_EXP || p[3] ||
        (p[0] == VG_LOGISTIC && p[2] != 11) || get16(p + 4) != m->n_out ||
        get16(p + 6) != w->n_in)
        return VG_E_FORMAT;
    r->output = p[0];
    r->n_h = w->n_in;
    columns = r->n_h + (p[1] & READOUT_SHORTCUTS ? m->n_in : 0);
    if ((err = read_map(w, &r->map, m->n_out, columns, 1)) != 0)
        return err;
    r->map.arg_exp = p[2];
    if (!shifts_ok(w->blob + r->map.exps, w->bits == 8 ? m->n_out : 1, p[2]))
        return VG_E_FORMAT;
    if (p[1] & READOUT_BIASES)
        err = vg_walk_skip(w, m->n_out, 4, &r->map.biases);
    return err;
}
