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

VG_ONCE vg_walk vg_walk_start(const vg_model *m)
{
    vg_walk w;

    w.blob = m->blob;
    w.at = VG_HEADER;
    if (m->blob[VG_AT_FLAGS] & VG_HAS_SCALING)
        w.at += (uint32_t)VG_CHANNEL * m->n_in;
    w.end = m->size - 4;
    w.n_in = m->n_in;
    w.n_half = 0;
    w.half_exp = 0;
    w.bits = VG_BITS(m->blob[VG_AT_BITS]);
    w.group = m->blob[VG_AT_LAYOUT] == VG_WORDS ? (uint8_t)(32 / w.bits) : 1;
    return w;
}

VG_ONCE int vg_walk_skip(vg_walk *w, uint64_t count, uint32_t size,
                         uint32_t *at)
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

/* ---- maps ----------------------------------------------------------- */

static void size_map(const vg_walk *w, vg_map *m, uint32_t rows,
                     uint32_t columns)
{
    memset(m, 0, sizeof *m);
    m->bits = w->bits;
    m->group = w->group;
    m->rows = (uint16_t)rows;
    m->columns = columns;
    m->together = 1;
}

static uint32_t n_exps(const vg_map *m)
{
    return vg_bits_of(m) == 8 ? m->rows : 1;
}

/* The exponents of n maps, then their matrices. */
static int read_maps(vg_walk *w, vg_map *m, uint32_t n)
{
    uint64_t exps = 0, weights = 0; /* < 2^19, < 2^37 */
    uint32_t exps_at, weights_at;
    int err;

    for (uint32_t k = 0; k < n; k++) {
        exps += n_exps(&m[k]);
        weights += (uint64_t)vg_padded_rows(&m[k]) * vg_stride(&m[k]);
    }
    if ((err = vg_walk_skip(w, exps, 1, &exps_at)) != 0 ||
        (err = vg_walk_skip(w, weights, VG_BITS(w->bits) / 8u, &weights_at)) !=
            0)
        return err;
    for (uint32_t k = 0; k < n; k++, m++) {
        m->exps = exps_at;
        m->weights = weights_at;
        exps_at += n_exps(m);
        weights_at +=
            vg_padded_rows(m) * vg_stride(m) * (VG_BITS(w->bits) / 8u);
    }
    return VG_OK;
}

/* 1 <= E - arg <= 31 for every row. */
static int shifts_ok(const vg_walk *w, const vg_map *m)
{
    const uint8_t *exps = w->blob + m->exps;

    for (uint32_t k = 0; k < n_exps(m); k++)
        if (exps[k] < m->arg_exp + 1 || exps[k] > m->arg_exp + 31)
            return 0;
    return 1;
}

/* ---- records -------------------------------------------------------- */

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
    case 'n': /* m of a gru joins n */
        return l->cell == VG_GRU ? 12 : l->h_exp;
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

/* Is what the layer gives within +-2, so that its exponent is 14? */
static int bounded(const vg_cell *cell, uint8_t fields)
{
    return (fields & VG_H_MASK) != VG_H_IDENTITY && !has(cell->functions, 'r');
}

/* The twelve bytes at the front.  Returns the flags. */
static int read_head(const vg_walk *w, const uint8_t *p, vg_layer *l)
{
    const vg_cell *cell;

    if (p[0] >= VG_N_CELLS || !VG_HAS_CELL(p[0]) || p[2] > 7 ||
        get16(p + 10) > VG_HALF_REVERSE)
        return VG_E_FORMAT;
    cell = vg_cells[p[0]];
    memset(l, 0, sizeof *l);
    l->cell = p[0];
    l->fields = p[1];
    l->h_exp = p[3];
    l->n = (uint16_t)get16(p + 4);
    l->block = (uint16_t)get16(p + 6);
    l->n_in = (uint16_t)get16(p + 8);
    l->direction = p[10];
    if ((l->direction == VG_HALF_REVERSE) != (w->n_half != 0))
        return VG_E_FORMAT;
    if (!fields_ok(cell, l->fields) || l->h_exp > VG_MAX_EXP ||
        (l->h_exp < VG_MAX_EXP && bounded(cell, l->fields)))
        return VG_E_FORMAT;
    if (!l->n || !l->block || l->n % l->block || l->n_in != w->n_in ||
        (l->block > 1 && (!VG_HAS_BLOCKS || !*cell->shared)))
        return VG_E_FORMAT;
    return p[2];
}

/* Columns of a gate by what it reads. */
static uint32_t columns_of(const vg_layer *l, char reads)
{
    switch (reads) {
    case 'x':
        return l->n_in;
    case 'h':
        return l->n;
    case 'd':
        return l->n_in + 1u;
    case 's':
        return (uint32_t)l->n_in + l->n;
    case 'p':
    case 'q':
        return l->n_z + 1;
    default: /* b */
        return l->n_z;
    }
}

/* Which gates there are, with how many rows and columns each. */
static void read_gates(const vg_walk *w, vg_layer *l, const vg_cell *cell)
{
    const uint32_t blocks = vg_blocks(l);

    l->n_r = l->n;
    if (l->fields & VG_FEEDBACK)
        l->n_r += l->fields & VG_OUTPUT_GATE ? 2 * blocks : blocks;
    l->n_z = l->n_in + (l->fields & VG_RECURRENT ? l->n_r : 0);
    l->n_c = cell->carry ? l->n : 0;
    for (uint32_t k = 0; cell->gates[k]; k++) {
        const char letter = cell->gates[k], function = cell->functions[k];
        const uint8_t field = letter == 'f' ? VG_FORGET_GATE : VG_OUTPUT_GATE;
        vg_map *m = &l->gate[l->n_gates];
        if (has(cell->optional, letter) && !(l->fields & field))
            continue;
        size_map(w, m, has(cell->shared, letter) ? blocks : l->n,
                 columns_of(l, cell->reads[k]));
        m->reads = (uint8_t)cell->reads[k];
        m->arg_exp = argument_exp(l, function);
        m->counts = function == 'n'   ? VG_COUNT_LOW | VG_COUNT_HIGH
                    : function == 'r' ? VG_COUNT_HIGH
                                      : 0;
        /* for now whose bias it is; read_biases puts the place there */
        m->biases =
            has(cell->cells, letter) ? LAYER_CELL_BIASES : LAYER_GATE_BIASES;
        l->rows += m->rows;
        l->n_gates++;
    }
    l->n_early = (uint8_t)(l->n_gates - cell->n_late);
}

/* The one E of n and m of a gru: m is the gate that reads h alone. */
static int exps_ok(const vg_walk *w, const vg_layer *l)
{
    for (uint32_t k = 0; k < l->n_gates; k++) {
        const vg_map *m = &l->gate[k];
        if (!shifts_ok(w, m))
            return 0;
        if (m->reads == 'h' &&
            memcmp(w->blob + m->exps, w->blob + m[-1].exps, n_exps(m)) != 0)
            return 0;
    }
    return 1;
}

static int read_biases(vg_walk *w, vg_layer *l, int flags)
{
    for (uint32_t k = 0; k < l->n_gates; k++) {
        vg_map *m = &l->gate[k];
        const int there = (int)m->biases & flags;
        int err;
        m->biases = 0;
        if (there && (err = vg_walk_skip(w, m->rows, 4, &m->biases)) != 0)
            return err;
    }
    return VG_OK;
}

/* Gates that read the same z whole, count nothing and have one shape, biases
 * included, are taken together. */
static void join_gates(vg_layer *l)
{
    for (uint32_t k = l->n_gates; k > 0; k--) {
        vg_map *m = &l->gate[k - 1];
        const vg_map *next = m + 1;
        if (k < l->n_gates && k != l->n_early && m->reads == 'b' &&
            next->reads == 'b' && m->rows == next->rows &&
            !m->biases == !next->biases && !m->counts && !next->counts)
            m->together = (uint8_t)(1 + next->together);
    }
}

/* What the next layer reads: of halves of a bidirectional layer both. */
static void pass_on(vg_walk *w, const vg_layer *l)
{
    if (l->direction == VG_HALF_FORWARD) {
        w->n_half = l->n;
        w->half_exp = l->h_exp;
        return;
    }
    w->n_in = w->n_half + l->n;
    w->n_half = 0;
}

VG_ONCE int vg_walk_layer(vg_walk *w, vg_layer *l)
{
    uint32_t at;
    int flags, err;

    if ((err = vg_walk_skip(w, LAYER_HEAD, 1, &at)) != 0)
        return err;
    if ((flags = read_head(w, w->blob + at, l)) < 0)
        return flags;
    read_gates(w, l, vg_cells[l->cell]);
    if ((err = read_maps(w, l->gate, l->n_gates)) != 0)
        return err;
    if (!exps_ok(w, l))
        return VG_E_FORMAT;
    if ((err = read_biases(w, l, flags)) != 0)
        return err;
    join_gates(l);
    if (flags & LAYER_INITIAL) {
        if ((err = vg_walk_skip(w, vg_image_size(l), 1, &l->initial)) != 0)
            return err;
        if (!vg_image_ok(l, w->blob + l->initial))
            return VG_E_FORMAT;
    }
    pass_on(w, l);
    return VG_OK;
}

VG_ONCE int vg_walk_readout(vg_walk *w, const vg_model *m, vg_readout *r)
{
    const uint8_t *p;
    uint32_t at, columns;
    int err;

    if ((err = vg_walk_skip(w, READOUT_HEAD, 1, &at)) != 0)
        return err;
    p = w->blob + at;
    if (p[0] > VG_SOFTMAX || !VG_HAS_OUTPUT(p[0]) || p[1] > 3 ||
        p[2] > VG_MAX_EXP || p[3] || (p[0] == VG_LOGISTIC && p[2] != 11) ||
        get16(p + 4) != m->n_out || get16(p + 6) != w->n_in)
        return VG_E_FORMAT;
    r->output = p[0];
    r->n_h = w->n_in;
    columns = r->n_h + (p[1] & READOUT_SHORTCUTS ? m->n_in : 0);
    size_map(w, &r->map, m->n_out, columns);
    r->map.arg_exp = p[2];
    r->map.counts = p[0] == VG_LOGISTIC ? 0 : VG_COUNT_LOW | VG_COUNT_HIGH;
    if ((err = read_maps(w, &r->map, 1)) != 0)
        return err;
    if (!shifts_ok(w, &r->map))
        return VG_E_FORMAT;
    if (p[1] & READOUT_BIASES)
        err = vg_walk_skip(w, m->n_out, 4, &r->map.biases);
    return err;
}
