/* layer.c - what is the same for every cell: affine maps, and the readout.
 * words.c has the maps of the other layout.
 */
#include <string.h>

#include "core.h"
#include "dot.h"
#include "lut.h"

#if VG_THUMB2 && VG_RUNS_FAST && !defined(__OPTIMIZE_SIZE__)
#include "copy_thumb2.h"
#define COPY copy_thumb2
#else
#define COPY(to, from, n) memcpy(to, from, 2 * (size_t)(n))
#endif

/* What the rows of a map read: z1 in the first n1 columns and z2 in the n2
 * after them, null for the one-hot x of a symbol; and in one column more h or c
 * of the row's own cell, if own is not null. */
typedef struct {
    const uint8_t *blob; /* where the weights are, too */
    const vg_sig *z1, *z2;
    uint32_t n1, n2;
    const vg_input *symbol;
    const void *own; /* of the cells: c, or h of a map that reads 'd' */
} sources;

/* Two rows at once.  The second is the first again after the last one. */
typedef struct {
    int64_t sum[2];
    uint32_t apart; /* bytes between them */
    uint32_t bits;  /* a weight */
} two_rows;

/* sum[2] += w z over n columns from the one at w on. */
static VG_WITHIN void add_products(two_rows *t, const void *w, const vg_sig *z,
                                   uint32_t n)
{
    const void *w1 = (const uint8_t *)w + t->apart;

    if (VG_BITS(t->bits) == 8)
        DOT_W8(w, w1, z, n, t->sum);
    else
        DOT_W16(w, w1, z, n, t->sum);
}

static int32_t weight(const two_rows *t, const uint8_t *w, uint32_t j)
{
    const void *row = w;

    return VG_BITS(t->bits) == 8 ? ((const int8_t *)row)[j]
                                 : ((const int16_t *)row)[j];
}

static int exp_of(const uint8_t *blob, const vg_map *m, uint32_t row)
{
    return blob[m->exps + (vg_bits_of(m) == 8 ? row : 0)];
}

/* sum[2] += w of column j for the symbol that is one there. */
static void add_symbol(two_rows *t, const uint8_t *w, uint32_t j, int32_t one)
{
    t->sum[0] += weight(t, w, j) * one;
    t->sum[1] += weight(t, w + t->apart, j) * one;
}

/* sum[2] += what the last column adds: h or c of the row's own cell. */
static void add_own(two_rows *t, const uint8_t *w, const vg_map *m,
                    const void *own, uint32_t row)
{
    const uint32_t next = row + (t->apart > 0), j = m->columns - 1;
    const int32_t w0 = weight(t, w, j), w1 = weight(t, w + t->apart, j);
    const vg_sig *h = own;
    const int32_t *c = own;

    if (m->reads == 'd') {
        t->sum[0] += w0 * h[row];
        t->sum[1] += w1 * h[next];
    } else {
        t->sum[0] += (int64_t)w0 * fx_rs32(c[row], 6);
        t->sum[1] += (int64_t)w1 * fx_rs32(c[next], 6);
    }
}

/* sum[2] = b of two rows from row on.  Returns where the first row is. */
static const uint8_t *start(const uint8_t *blob, const vg_map *m, uint32_t row,
                            two_rows *t)
{
    const int32_t *b = (const int32_t *)(const void *)(blob + m->biases);
    const uint32_t next = row + 1 < m->rows ? 1 : 0;
    const uint32_t step = vg_stride(m) * (vg_bits_of(m) / 8);

    t->sum[0] = m->biases ? b[row] : 0;
    t->sum[1] = m->biases ? b[row + next] : 0;
    t->apart = next ? step : 0;
    t->bits = m->bits;
    return blob + m->weights + row * step;
}

/* sum[2] = b + W z of two rows from row on. */
static VG_WITHIN void accumulate(const vg_map *m, const sources *s,
                                 uint32_t row, two_rows *t)
{
    const uint8_t *w = start(s->blob, m, row, t);

    if (s->z1)
        add_products(t, w, s->z1, s->n1);
    if (s->n2 && s->z2)
        add_products(t, w + s->n1 * (vg_bits_of(m) / 8), s->z2, s->n2);
    if (VG_HAS_SYMBOLS && s->symbol)
        add_symbol(t, w, (s->z1 ? s->n1 : 0) + s->symbol->symbol,
                   s->symbol->one);
    if (VG_HAS_OWN && s->own)
        add_own(t, w, m, s->own, row);
}

/* a[2] = sat16(rs(b + W z, E - arg_exp)) of two rows from row on, or of the
 * last one.  Returns the clamps that count. */
static uint32_t affine_rows(const vg_map *m, const sources *s, uint32_t row,
                            vg_sig *a)
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

/* a[rows], in pieces.  Returns the clamps that count. */
static VG_APART uint32_t affine(const vg_map *m, const sources *s, vg_sig *a)
{
    uint32_t clamped = 0;

    for (uint32_t row = 0; row < m->rows; row += 2)
        clamped += affine_rows(m, s, row, a + row);
    return clamped;
}

/* a of a map and those together with it, by one call of a kernel: of all
 * columns z, 4-byte aligned and readable to the end of a padded row. */
static VG_APART void affine_whole(const uint8_t *blob, const vg_map *m,
                                  const vg_sig *z, vg_sig *a)
{
    const uint8_t *b = blob + m->biases;
    dot_gates g;

    g.map.w = blob + m->weights;
    g.map.b = m->biases ? (const int32_t *)(const void *)b : NULL;
    g.map.exps = blob + m->exps;
    g.map.z = z;
    g.map.rows = m->rows;
    g.map.stride = vg_stride(m);
    g.n = m->together;
    for (uint32_t k = 0; k < g.n; k++)
        g.arg_exps[k] = m[k].arg_exp;
    if (vg_bits_of(m) == 8)
        DOT_GATES8(&g, a);
    else
        DOT_GATES16(&g, a);
}

/* Was the a of a row, at a bound, beyond it before it was clamped? */
static int is_clamped(const uint8_t *blob, const vg_map *m, uint32_t row,
                      const vg_sig *z, vg_sig a)
{
    const int32_t *b = (const int32_t *)(const void *)(blob + m->biases);
    const uint32_t n = vg_stride(m);
    const void *w = blob + m->weights + row * n * (vg_bits_of(m) / 8);
    int64_t sum = m->biases ? b[row] : 0;

    sum += vg_bits_of(m) == 8 ? DOT_ROW8(w, z, n) : DOT_ROW16(w, z, n);
    return fx_rs31(sum, exp_of(blob, m, row) - m->arg_exp) != a;
}

/* The clamps that count of a map that affine_whole made. */
static VG_APART VG_ONCE uint32_t affine_clamps(const uint8_t *blob,
                                               const vg_map *m, const vg_sig *z,
                                               const vg_sig *a)
{
    uint32_t clamped = 0;

    for (uint32_t row = 0; row < m->rows; row++)
        if ((a[row] == INT16_MIN && m->counts & VG_COUNT_LOW) ||
            (a[row] == INT16_MAX && m->counts & VG_COUNT_HIGH))
            clamped += (uint32_t)is_clamped(blob, m, row, z, a[row]);
    return clamped;
}

void vg_copy(vg_sig *to, const vg_sig *from, uint32_t n)
{
#ifdef __OPTIMIZE_SIZE__
    while (n--)
        *to++ = *from++;
#else
    COPY(to, from, n);
#endif
}

/* ---- a layer -------------------------------------------------------- */

/* What a row of a gate reads.  symbol: null, or the layer's x. */
static void find_sources(const vg_run *r, const vg_layer *l, const vg_map *gate,
                         const vg_input *symbol, sources *s)
{
    memset(s, 0, sizeof *s);
    s->blob = r->model->blob;
    s->n1 = l->n_in;
    if (symbol)
        s->symbol = symbol;
    else
        s->z1 = vg_run_signals(r, l->z);
    s->z2 = vg_run_r(r, l);
    switch (gate->reads) {
    case 'b':
        s->n2 = l->n_z - l->n_in;
        break;
    case 'd':
        s->own = s->z2;
        break;
    case 'p':
    case 'q':
        s->own = vg_run_c(r, l);
        s->n2 = l->n;
        break;
    case 's':
        s->z2 = vg_run_values(r) + l->rows;
        s->n2 = l->n;
        break;
    default: /* x */
        break;
    }
}

/* Gates n and m of a gru at once, for r acc_m joins acc_n: n reads x, m reads
 * h.  r lies before a, the value of m, acc_m on q11, behind it.  Neither acc is
 * above 2^46 + 2^31, so that the sum is below 2^62. */
static VG_APART void gru_with_reset(const vg_run *r, const vg_layer *l,
                                    const vg_map *n, const vg_input *symbol,
                                    vg_sig *a)
{
    const uint8_t *blob = r->model->blob;
    two_rows of_n, of_m;

    for (uint32_t row = 0; row < n->rows; row++, a++) {
        const int shift = exp_of(blob, n, row) - 12;
        int64_t acc;
        if (!(row & 1)) {
            const uint8_t *w = start(blob, n + 1, row, &of_m);
            add_products(&of_m, w, vg_run_r(r, l), l->n);
            w = start(blob, n, row, &of_n);
            if (symbol)
                add_symbol(&of_n, w, symbol->symbol, symbol->one);
            else
                add_products(&of_n, w, vg_run_signals(r, l->z), l->n_in);
        }
        /* rs(x, n + k) = rs(floor(x / 2^k), n) */
        acc = of_m.sum[row & 1];
        *a = fx_narrow(fx_rs31(
            fx_floor(of_n.sum[row & 1] * VG_ONE + acc * *(a - n->rows), 14),
            shift));
        a[n->rows] = fx_narrow(fx_rs31(fx_floor(acc, 1), shift));
    }
}

/* Of a gate that reads neither x nor x and r, which lie one behind the other.
 */
static VG_APART uint32_t gate_in_pieces(const vg_run *r, const vg_layer *l,
                                        const vg_map *gate,
                                        const vg_input *symbol, vg_sig *a)
{
    sources s;

    find_sources(r, l, gate, symbol, &s);
    return affine(gate, &s, a);
}

/* The arguments of one or more gates.  Returns how many. */
static uint32_t gates_step(vg_run *r, const vg_layer *l, const vg_map *gate,
                           const vg_input *symbol, vg_sig *a)
{
    if (VG_HAS_CELL(VG_GRU) && gate->reads == 'x' &&
        l->cell == VG_GRU) { /* with the next one */
        if (vg_in_words(gate))
            vg_words_reset(r, l, gate, symbol, a);
        else
            gru_with_reset(r, l, gate, symbol, a);
        return 2;
    }
    if (vg_in_words(gate)) {
        r->saturated += vg_words_map(r, l, gate, symbol, NULL, a);
        return gate->together;
    }
    if ((VG_HAS_SYMBOLS && symbol) ||
        (VG_HAS_PIECES && gate->reads != 'b' && gate->reads != 'x')) {
        r->saturated += gate_in_pieces(r, l, gate, symbol, a);
        return 1;
    }
    affine_whole(r->model->blob, gate, vg_run_signals(r, l->z), a);
    if (VG_HAS_CLAMPS && gate->counts) /* alone, then */
        r->saturated +=
            affine_clamps(r->model->blob, gate, vg_run_signals(r, l->z), a);
    return gate->together;
}

void vg_layer_step(vg_run *r, const vg_layer *l, const vg_input *symbol)
{
    const vg_map *gate = l->gate, *const end = gate + l->n_gates;
    vg_sig *a = vg_run_values(r);

    do {
        uint32_t n;
        if (VG_HAS_LATE && gate == l->gate + l->n_early)
            r->saturated += vg_cells[l->cell]->between(
                l, vg_run_values(r), vg_run_c(r, l), vg_run_r(r, l));
        n = gates_step(r, l, gate, symbol, a);
        a += n * gate->rows;
        gate += n;
    } while (gate < end);
    r->saturated += vg_cells[l->cell]->unit(l, vg_run_values(r), vg_run_c(r, l),
                                            vg_run_r(r, l));
}

/* ---- the readout ---------------------------------------------------- */

/* y_k = floor((2^15 p_k + P) / 2 P), p_k = 2^16 exp(z_k - max z) rounded, P
 * their sum.  Every p is at most 2^16 and n < 2^15: 2 P < 2^32.  Only where z_k
 * is the highest, p is 2^16; the others wait in y, less 2^15. */
static void softmax(const vg_sig *logits, uint32_t n, int e, vg_sig *y)
{
    int32_t top = logits[0];
    uint32_t sum = 0;

    for (uint32_t k = 1; k < n; k++)
        if (logits[k] > top)
            top = logits[k];
    for (uint32_t k = 0; k < n; k++) {
        const uint32_t p = lut_exp((uint32_t)(top - logits[k]), e);
        sum += p;
        y[k] = (vg_sig)((int32_t)(p & 0xFFFF) - 32768);
    }
    for (uint32_t k = 0; k < n; k++) {
        const uint32_t p = logits[k] == top ? 65536u : (uint32_t)(y[k] + 32768);
        y[k] = (vg_sig)((32768u * p + sum) / (2u * sum));
    }
}

/* Of a symbol that joins h, or of a training that needs the gates' values. */
static VG_APART uint32_t readout_in_pieces(const vg_run *r, const vg_sig *h,
                                           const vg_input *x, vg_sig *logits)
{
    const vg_readout *out = vg_run_readout(r);
    sources s;

    memset(&s, 0, sizeof s);
    s.blob = r->model->blob;
    s.z1 = h;
    s.n1 = out->n_h;
    s.z2 = x->x;
    s.n2 = out->map.columns - out->n_h;
    if (VG_HAS_SYMBOLS && !x->x && s.n2)
        s.symbol = x;
    return affine(&out->map, &s, logits);
}

/* [h; x] in one piece, aligned, in place of the gates' values.  h itself may
 * not be aligned, or end where a buffer does. */
static VG_APART const vg_sig *readout_z(const vg_run *r, const vg_sig *h,
                                        const vg_sig *x)
{
    const vg_readout *out = vg_run_readout(r);
    const vg_layer *top = vg_run_layers(r) + r->model->n_layers - 1;
    vg_sig *z = vg_run_values(r) + vg_readout_at(top);

    vg_copy(z, h, out->n_h);
    if (out->map.columns > out->n_h)
        vg_copy(z + out->n_h, x, out->map.columns - out->n_h);
    return z;
}

static uint32_t readout_map(const vg_run *r, const vg_sig *h, const vg_input *x,
                            vg_sig *logits)
{
    const uint8_t *blob = r->model->blob;
    const vg_readout *out = vg_run_readout(r);
    const vg_map *m = &out->map;
    const int shortcuts = m->columns > out->n_h;

    if (shortcuts || (uintptr_t)h & 3 || out->n_h & 3) {
        if ((VG_HAS_SYMBOLS && shortcuts && !x->x) ||
            (VG_HAS_METHOD(VG_RTRL97) && r->keeps_values))
            return readout_in_pieces(r, h, x, logits);
        h = readout_z(r, h, x->x);
    }
    affine_whole(blob, m, h, logits);
    return m->counts ? affine_clamps(blob, m, h, logits) : 0;
}

void vg_readout_step(vg_run *r, const vg_sig *h, const vg_input *x, vg_sig *y)
{
    const vg_readout *out = vg_run_readout(r);
    const uint32_t n = out->map.rows;
    vg_sig *logits = vg_run_signals(r, out->logits);

    if (!VG_HAS_OUTPUTS || !n) { /* none: y = h */
        vg_copy(logits, h, r->model->n_out);
        vg_copy(y, h, r->model->n_out);
        return;
    }
    r->saturated += vg_in_words(&out->map)
                        ? vg_words_map(r, NULL, &out->map, x, h, logits)
                        : readout_map(r, h, x, logits);
    switch (out->output) {
    case VG_LOGISTIC:
        for (uint32_t j = 0; VG_HAS_OUTPUT(VG_LOGISTIC) && j < n; j++)
            y[j] = (vg_sig)lut_sigmoid(logits[j]);
        break;
    case VG_SOFTMAX:
        if (VG_HAS_OUTPUT(VG_SOFTMAX))
            softmax(logits, n, out->map.arg_exp, y);
        break;
    default:
        for (uint32_t j = 0; j < n; j++)
            y[j] = logits[j];
    }
}
