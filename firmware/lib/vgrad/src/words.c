/* words.c - maps in the layout words (BLOB.md): a word has one column of two
 * rows of 16 bits or of four of 8.  Their kernels want z as int32, in blocks of
 * VG_BLOCK columns, each behind its sum.
 */
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

/* n columns from z; null: zeros, up to 3. */
static void put_columns(wide_cursor *c, const vg_sig *z, uint32_t n)
{
    static const vg_sig zeros[3];

    if (!z)
        z = zeros;
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
        if (DOT_PAIRS && c->pairs)
            for (uint32_t k = c->left + run; k > c->left; k--) {
                sum += *at++ = *z++;
                if (k & 1) {
                    *at = (at[-2] + at[-1]) * 32768;
                    at++;
                }
            }
        else
            for (; run; run--)
                sum += *at++ = *z++;
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

/* Does a gate read h or c of its own cell, in its last column? */
static int reads_own(const vg_map *m)
{
    return VG_HAS_OWN &&
           (m->reads == 'd' || m->reads == 'p' || m->reads == 'q');
}

/* sum[] of the group of rows from row on += what they read in one column: of a
 * symbol, or of their own cells.  l is null for a readout. */
static VG_APART void add_column(const vg_run *r, const vg_layer *l,
                                const vg_map *m, const vg_input *symbol,
                                uint32_t row, int64_t *sum)
{
    const uint8_t *blob = r->model->blob;
    const uint32_t first = l ? 0 : vg_run_readout(r)->n_h;
    const uint32_t end = row + vg_group_of(m);

    for (; row < end && row < m->rows; row++, sum++) {
        if (VG_HAS_SYMBOLS && symbol)
            *sum +=
                vg_weight(blob, m, row, first + symbol->symbol) * symbol->one;
        if (reads_own(m)) {
            const int32_t w = vg_weight(blob, m, row, m->columns - 1);
            *sum += m->reads == 'd'
                        ? w * vg_run_r(r, l)[row]
                        : fx_product(w, fx_rs32(vg_run_c(r, l)[row], 6));
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

/* a[] of rows from the first on, by one call of a kernel.  Returns how many. */
static VG_APART uint32_t many_groups(const vg_run *r, const vg_map *m,
                                     const vg_input *symbol, vg_sig *a)
{
    const uint8_t *blob = r->model->blob;
    const vg_wide *z = vg_run_wide(r);
    dot_map map;

    if ((VG_HAS_SYMBOLS && symbol) || reads_own(m) || z->n > VG_BLOCK)
        return 0;
    map.w = blob + m->weights;
    map.b = group_biases(blob, m);
    map.exps = blob + m->exps;
    map.z = z->z + 1;
    map.rows = m->rows;
    map.stride = z->n;
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

/* a[] group by group.  The first `done` rows are there; but kernels of many
 * groups do not count clamps, so those with a row at a bound are looked at
 * again.  Returns the clamps that count. */
static VG_APART uint32_t each_group(const vg_run *r, const vg_layer *l,
                                    const vg_map *m, const vg_input *symbol,
                                    uint32_t done, vg_sig *a)
{
    const uint8_t *blob = r->model->blob;
    uint32_t clamped = 0;
    int64_t sum[4];

    for (uint32_t row = m->counts ? 0 : done; row < m->rows;
         row += vg_group_of(m)) {
        if (row < done && !any_at_bound(a + row, vg_group_of(m)))
            continue;
        add_group(blob, m, vg_run_wide(r), row, sum);
        if (VG_HAS_SYMBOLS || VG_HAS_OWN)
            add_column(r, l, m, symbol, row, sum);
        clamped += round_group(blob, m, row, sum, a + row);
    }
    return clamped;
}

/* a[] of a map and those together with it.  Returns the clamps that count; of
 * maps together none does. */
static VG_APART uint32_t each_map(const vg_run *r, const vg_layer *l,
                                  const vg_map *m, const vg_input *symbol,
                                  vg_sig *a)
{
    const vg_map *const end = m + m->together;
    uint32_t clamped;

    do {
        const uint32_t done = many_groups(r, m, symbol, a);
        clamped = done < m->rows || m->counts
                      ? each_group(r, l, m, symbol, done, a)
                      : 0;
        a += m->rows;
    } while (++m < end);
    return clamped;
}

/* ---- layers and readouts -------------------------------------------- */

/* What a gate reads, widened, if the one before it read something else. */
static VG_APART void put_gate(const vg_run *r, const vg_layer *l,
                              const vg_map *gate, const vg_input *symbol)
{
    const vg_sig *x = symbol ? NULL : vg_run_signals(r, l->z);
    const vg_sig *z2 = vg_run_r(r, l);
    uint32_t n2 = 0;

    if (gate != l->gate && gate->reads == gate[-1].reads)
        return;
    switch (gate->reads) {
    case 'b':
        n2 = l->n_z - l->n_in;
        break;
    case 'p':
    case 'q':
        n2 = l->n;
        break;
    case 's':
        z2 = vg_run_values(r) + l->rows;
        n2 = l->n;
        break;
    default: /* x, d */
        break;
    }
    (void)widen(vg_run_wide(r), gate->bits, x, l->n_in, z2, n2);
}

/* What the readout reads, widened.  x null: it has no columns, or a symbol's.
 */
static VG_APART void put_readout(const vg_run *r, const vg_sig *h,
                                 const vg_sig *x)
{
    const vg_readout *out = vg_run_readout(r);

    (void)widen(vg_run_wide(r), out->map.bits, h, out->n_h, x,
                x ? out->map.columns - out->n_h : 0);
}

uint32_t vg_words_map(const vg_run *r, const vg_layer *l, const vg_map *m,
                      const vg_input *x, const vg_sig *h, vg_sig *a)
{
    if (l) {
        put_gate(r, l, m, x);
    } else {
        put_readout(r, h, x->x);
        if (x->x || m->columns == vg_run_readout(r)->n_h)
            x = NULL;
    }
    return each_map(r, l, m, x, a);
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
    const uint8_t *blob = r->model->blob;

    h = widen(z, n->bits, symbol ? NULL : vg_run_signals(r, l->z), l->n_in,
              NULL, 0);
    (void)widen(h, n->bits, vg_run_r(r, l), l->n, NULL, 0);
    for (uint32_t row = 0; row < n->rows; row++) {
        const uint32_t k = row & (vg_group_of(n) - 1);
        if (!k) {
            add_group(blob, n, z, row, acc_n);
            if (VG_HAS_SYMBOLS)
                add_column(r, l, n, symbol, row, acc_n);
            add_group(blob, n + 1, h, row, acc_m);
        }
        round_reset(acc_n[k], acc_m[k], group_exp(blob, n, row), n->rows,
                    a + row);
    }
}
