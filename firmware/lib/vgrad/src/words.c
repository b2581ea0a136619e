/* words.c - maps in the layout words (BLOB.md): a word has one column of two
 * rows of 16 bits or of four of 8.  Their kernels want z as int32, in blocks of
 * VG_BLOCK columns, each behind its sum.
 */
#include <string.h>

#include "core.h"
#include "dot_words.h"

/* Where the next column goes, and its block's sum. */
typedef struct {
    int32_t *sum, *at;
    uint32_t left; /* columns of the block */
    int pairs;
} wide_cursor;

static void begin_block(wide_cursor *c)
{
    c->sum = c->at++;
    *c->sum = 0;
    c->left = VG_BLOCK;
}

/* n columns from z; null: zeros. */
static void put_columns(wide_cursor *c, const vg_sig *z, uint32_t n)
{
    while (n) {
        uint32_t run;
        int32_t sum, *at;
        if (!c->left)
            begin_block(c);
        run = n < c->left ? n : c->left;
        sum = *c->sum;
        at = c->at;
        n -= run;
        c->left -= run;
        for (uint32_t k = c->left + run; k > c->left; k--) {
            sum += *at++ = z ? *z++ : 0;
            if (DOT_PAIRS && c->pairs && k & 1) {
                *at = (at[-2] + at[-1]) * 32768;
                at++;
            }
        }
        *c->sum = sum;
        c->at = at;
    }
}

/* z1 in the first n1 columns and z2, if not null, in the n2 after them, then
 * zeros.  z1 null: without the first n1 columns, as far as that leaves a
 * multiple of 4.  Returns where another one can go. */
static VG_APART vg_wide *widen(vg_wide *to, uint32_t bits, const vg_sig *z1,
                               uint32_t n1, const vg_sig *z2, uint32_t n2)
{
    const uint32_t skipped = z1 ? 0 : n1 & ~(uint32_t)3;
    const uint32_t n = n1 + n2 - skipped;
    wide_cursor c = {NULL, NULL, 0, DOT_PAIRS && VG_BITS(bits) == 16};

    to->from = skipped;
    to->n = (n + 3) & ~(uint32_t)3;
    c.at = to->z;
    put_columns(&c, z1, n1 - skipped);
    put_columns(&c, z2, n2);
    put_columns(&c, NULL, to->n - n);
    return (vg_wide *)(void *)c.at;
}

/* ---- maps ----------------------------------------------------------- */

/* What a map reads. */
typedef struct {
    const uint8_t *blob; /* where the weights are, too */
    const vg_wide *z;
    const vg_input *symbol; /* null: none */
    uint32_t symbol_at;     /* the column of symbol 0 */
    const vg_sig *own_h;    /* null: none; else read by the last column */
    const int32_t *own_c;   /* null: none; else the same */
} reading;

/* sum[] of the group of rows from row on += what they read in one column: of a
 * symbol, or of their own cells. */
static VG_APART void add_column(const reading *s, const vg_map *m, uint32_t row,
                                int64_t *sum)
{
    for (const uint32_t end = row + vg_group_of(m); row < end && row < m->rows;
         row++, sum++) {
        if (VG_HAS_SYMBOLS && s->symbol)
            *sum +=
                vg_weight(s->blob, m, row, s->symbol_at + s->symbol->symbol) *
                s->symbol->one;
        if (VG_HAS_OWN && (s->own_h || s->own_c)) {
            const int32_t w = vg_weight(s->blob, m, row, m->columns - 1);
            *sum += s->own_h ? w * s->own_h[row] : w * fx_rs(s->own_c[row], 6);
        }
    }
}

static const int32_t *group_biases(const uint8_t *blob, const vg_map *m)
{
    return m->biases ? (const int32_t *)(const void *)(blob + m->biases) : NULL;
}

/* sum[] = b + W z of the group of rows from row on. */
static VG_APART void add_group(const uint8_t *blob, const vg_map *m,
                               const vg_wide *wide, uint32_t row, int64_t *sum)
{
    const uint8_t *at =
        blob + m->weights + row * vg_stride(m) * (vg_bits_of(m) / 8);
    const uint32_t *w = (const uint32_t *)(const void *)at + wide->from;
    const int32_t *b = group_biases(blob, m), *z = wide->z;

    for (uint32_t k = 0; k < vg_group_of(m); k++, row++)
        sum[k] = b && row < m->rows ? b[row] : 0;
    for (uint32_t left = wide->n; left;) {
        const uint32_t n = left < VG_BLOCK ? left : VG_BLOCK;
        if (vg_bits_of(m) == 8)
            DOT_WORDS8(w, z + 1, n, sum);
        else
            DOT_WORDS16(w, z + 1, n, sum);
        w += n;
        z += 1 + n + (DOT_PAIRS && vg_bits_of(m) == 16 ? n / 2 : 0);
        left -= n;
    }
}

static int group_exp(const uint8_t *blob, const vg_map *m, uint32_t row)
{
    return blob[m->exps + (vg_bits_of(m) == 8 ? row : 0)];
}

/* a[] of a group's sums.  Returns the clamps that count. */
static VG_APART uint32_t round_group(const uint8_t *blob, const vg_map *m,
                                     uint32_t row, const int64_t *sum,
                                     vg_sig *a)
{
    uint32_t clamped = 0;

    for (uint32_t k = 0; k < vg_group_of(m) && row < m->rows; k++, row++) {
        const int shift = group_exp(blob, m, row) - m->arg_exp;
        const int64_t x = fx_rs31(sum[k], shift);
        a[k] = fx_narrow(x);
        if (a[k] != x && m->counts & (x < 0 ? VG_COUNT_LOW : VG_COUNT_HIGH))
            clamped++;
    }
    return clamped;
}

static VG_APART uint32_t one_group(const reading *s, const vg_map *m,
                                   uint32_t row, vg_sig *a)
{
    int64_t sum[4];

    add_group(s->blob, m, s->z, row, sum);
    if (VG_HAS_SYMBOLS || VG_HAS_OWN)
        add_column(s, m, row, sum);
    return round_group(s->blob, m, row, sum, a);
}

/* a[] of rows from the first on, by one call of a kernel.  Returns how many. */
static VG_APART uint32_t many_groups(const reading *s, const vg_map *m,
                                     vg_sig *a)
{
    dot_map map;

    if (s->symbol || s->own_h || s->own_c || s->z->n > VG_BLOCK)
        return 0;
    map.w = s->blob + m->weights;
    map.b = group_biases(s->blob, m);
    map.exps = s->blob + m->exps;
    map.z = s->z->z + 1;
    map.rows = m->rows;
    map.stride = s->z->n;
    map.arg_exp = m->arg_exp;
    return vg_bits_of(m) == 8 ? DOT_WORDS_MAP8(&map, a)
                              : DOT_WORDS_MAP16(&map, a);
}

static int any_at_bound(const vg_sig *a, uint32_t n)
{
    while (n--)
        if (a[n] == INT16_MIN || a[n] == INT16_MAX)
            return 1;
    return 0;
}

/* ---- layers and readouts -------------------------------------------- */

/* What a gate reads, z widened. */
static VG_APART void read_gate(const vg_run *r, const vg_layer *l,
                               const vg_map *gate, const vg_input *symbol,
                               reading *s)
{
    const vg_sig *x = symbol ? NULL : vg_run_signals(r, l->z);
    const vg_sig *z2 = vg_run_r(r, l);
    uint32_t n2 = 0;

    memset(s, 0, sizeof *s);
    s->blob = r->model->blob;
    s->z = vg_run_wide(r);
    s->symbol = symbol;
    switch (gate->reads) {
    case 'b':
        n2 = l->n_z - l->n_in;
        break;
    case 'd':
        s->own_h = z2;
        break;
    case 'p':
    case 'q':
        s->own_c = vg_run_c(r, l);
        n2 = l->n;
        break;
    case 's':
        z2 = vg_run_values(r) + l->rows;
        n2 = l->n;
        break;
    default: /* x */
        break;
    }
    if (gate == l->gate || gate->reads != gate[-1].reads)
        (void)widen(vg_run_wide(r), gate->bits, x, l->n_in, z2, n2);
}

static VG_APART void read_readout(const vg_run *r, const vg_sig *h,
                                  const vg_input *x, reading *s)
{
    const vg_readout *out = vg_run_readout(r);
    const uint32_t n_x = out->map.columns - out->n_h;

    memset(s, 0, sizeof *s);
    s->blob = r->model->blob;
    s->z = vg_run_wide(r);
    if (n_x && !x->x) {
        s->symbol = x;
        s->symbol_at = out->n_h;
    }
    (void)widen(vg_run_wide(r), out->map.bits, h, out->n_h, x->x,
                x->x ? n_x : 0);
}

/* Kernels of many groups do not count clamps, so those with a row at a bound
 * are looked at again. */
uint32_t vg_words_map(const vg_run *r, const vg_layer *l, const vg_map *m,
                      const vg_input *x, const vg_sig *h, vg_sig *a)
{
    uint32_t clamped = 0, done;
    reading s;

    if (l)
        read_gate(r, l, m, x, &s);
    else
        read_readout(r, h, x, &s);
    done = many_groups(&s, m, a);
    for (uint32_t row = m->counts ? 0 : done; row < m->rows;
         row += vg_group_of(m))
        if (row >= done || any_at_bound(a + row, vg_group_of(m)))
            clamped += one_group(&s, m, row, a + row);
    return clamped;
}

/* a of n and m, rows apart, of sums of theirs. */
static VG_APART void round_reset(int64_t acc_n, int64_t acc_m, int e,
                                 uint32_t rows, vg_sig *a)
{
    *a = fx_narrow(fx_rs(acc_n * VG_ONE + acc_m * *(a - rows), e + 2));
    a[rows] = fx_narrow(fx_rs(acc_m, e - 11));
}

/* As gru_with_reset in layer.c. */
void vg_words_reset(const vg_run *r, const vg_layer *l, const vg_map *n,
                    const vg_input *symbol, vg_sig *a)
{
    vg_wide *z = vg_run_wide(r), *h;
    int64_t acc_n[4], acc_m[4];
    reading s;

    h = widen(z, n->bits, symbol ? NULL : vg_run_signals(r, l->z), l->n_in,
              NULL, 0);
    (void)widen(h, n->bits, vg_run_r(r, l), l->n, NULL, 0);
    memset(&s, 0, sizeof s);
    s.blob = r->model->blob;
    s.symbol = symbol;
    for (uint32_t row = 0; row < n->rows; row++) {
        const uint32_t k = row & (vg_group_of(n) - 1);
        if (!k) {
            add_group(s.blob, n, z, row, acc_n);
            add_column(&s, n, row, acc_n);
            add_group(s.blob, n + 1, h, row, acc_m);
        }
        round_reset(acc_n[k], acc_m[k], group_exp(s.blob, n, row), n->rows,
                    a + row);
    }
}
