/* update.c - from gradients to weights, and exponents that make room for
 * weights that grow.
 */
#include "update.h"

/* ---- one weight ----------------------------------------------------- */

static VG_APART int32_t moved(vg_updating *u, int32_t master, int64_t change)
{
    const int64_t sum = master + change;

    master = vg_master(sum);
    u->t->saturated += master != sum;
    return master;
}

void vg_move_weight(vg_updating *u, vg_sig *hi, int16_t *lo, int64_t change)
{
    vg_set_master(moved(u, vg_master_of(*hi, *lo), change), hi, lo);
    u->full |= *hi >= VG_HI_FULL || *hi <= -VG_HI_FULL;
}

void vg_move_bias(vg_updating *u, int32_t *bias, int64_t change)
{
    *bias = moved(u, *bias, change);
    u->full |= *bias >= VG_BIAS_FULL || *bias <= -VG_BIAS_FULL;
}

/* ---- a gate --------------------------------------------------------- */

/* Where a row's weights are that move alike, or its bias. */
typedef struct {
    vg_sig *hi;
    int16_t *lo;
    int32_t *bias;
    int32_t *gradient;
    int32_t *moment; /* null: none */
    uint32_t index;
} row_place;

static row_place place_of(const vg_train *t, const vg_gate *g, const vg_span *s,
                          uint32_t row)
{
    const uint32_t at = vg_row_at(g, s, g->rows, row);
    const uint32_t begin = vg_span_begin(g, s);
    const uint32_t weight = row * vg_gate_stride(g) + begin;
    const int biases = s->part == VG_BIAS;
    row_place r;

    r.hi = vg_sigs(t, g->weights) + weight;
    r.lo = vg_sigs(t, g->lo) + weight;
    r.bias = biases ? vg_ints(t, g->biases) + row : NULL;
    r.gradient = vg_ints(t, g->g) + at;
    r.moment = VG_HAS_MOMENTS && g->v ? vg_ints(t, g->v) + at : NULL;
    r.index = g->index + row * vg_in_row(g) + begin;
    return r;
}

static void move_one(vg_updating *u, const row_place *r, uint32_t j, int n)
{
    const int64_t change = vg_change(
        u, r->gradient[j], r->moment ? &r->moment[j] : NULL, n, r->index + j);

    if (r->bias)
        vg_move_bias(u, r->bias, change);
    else
        vg_move_weight(u, &r->hi[j], &r->lo[j], change);
}

/* Clears what does not learn, too: weights may have been packed there. */
static void update_row(vg_updating *u, const row_place *r,
                       const vg_columns *columns, int n)
{
    for (uint32_t k = 0; k < columns->count; k++) {
        const uint32_t j = vg_column(columns, k);
        if (u->rate)
            move_one(u, r, j, n);
        r->gradient[j] = 0;
    }
}

/* All rows by SGD in 32 bits. */
static void update_sgd(vg_updating *u, const vg_gate *g, const vg_span *s,
                       const vg_columns *columns)
{
    const uint32_t stride = vg_gate_stride(g), apart = g->columns;
    row_place r = place_of(u->t, g, s, 0);
    uint32_t rows = g->rows, n = columns->count;

    if (r.bias) {
        vg_sgd_biases(u, r.bias, r.gradient, rows);
        return;
    }
    if (n == stride && !columns->list) { /* one row after the other */
        n *= rows;
        rows = 1;
    }
    for (; rows; rows--, r.hi += stride, r.lo += stride, r.gradient += apart)
        if (!columns->list)
            vg_sgd_row(u, r.hi, r.lo, r.gradient, n);
        else
            for (uint32_t k = 0; k < n; k++) {
                const uint32_t j = columns->list[k];
                vg_sgd_row(u, r.hi + j, r.lo + j, r.gradient + j, 1);
            }
}

/* The spans from s to the last alike. */
static void update_spans(vg_updating *u, const vg_gate *g, const vg_span *s,
                         const vg_span *last)
{
    const int n = (s->part == VG_BIAS ? 48 : 32 + s->exp) - vg_exp_of(u->t, g);
    vg_columns columns = vg_touched(u->t, g, s);

    if (!columns.list)
        columns.count = last->end - vg_span_begin(g, s);
    if (VG_LEARNS_FAST && u->rate && u->is_sgd &&
        vg_sgd_of(&u->sgd, u->rate, n)) {
        update_sgd(u, g, s, &columns);
        return;
    }
    for (uint32_t row = 0; row < g->rows; row++) {
        const row_place r = place_of(u->t, g, s, row);
        update_row(u, &r, &columns, n);
    }
}

/* ---- an update ------------------------------------------------------ */

/* The last of the spans from s on whose weights move alike, all of them. */
static const vg_span *last_alike(const vg_updating *u, const vg_gate *g,
                                 const vg_span *s)
{
    const vg_span *const last = g->span + g->n_spans - 1;

    while (s < last && !vg_reads_symbol(s) && !vg_reads_symbol(s + 1) &&
           s[1].part != VG_BIAS && s[1].exp == s->exp &&
           vg_rate_of(u->t, g, s[1].part) == u->rate)
        s++;
    return s;
}

static void update_gate(vg_updating *u, const vg_gate *g)
{
    const vg_span *s = g->span, *last;

    for (const vg_span *end = s + g->n_spans; s < end; s = last + 1) {
        u->rate = vg_rate_of(u->t, g, s->part);
        last = last_alike(u, g, s);
        update_spans(u, g, s, last);
    }
}

/* n joined gates. */
static void update_gates(vg_updating *u, vg_gate *g, uint32_t n)
{
    u->full = 0;
    for (uint32_t k = 0; k < n; k++)
        update_gate(u, &g[k]);
    if (u->full)
        u->t->falls +=
            vg_fall(u->t, g, n, VG_HI_FULL, VG_BIAS_FULL, UINT32_MAX);
}

VG_ONCE void vg_update(vg_train *t)
{
    vg_plan *p = vg_plan_of(t);
    vg_gate *g = vg_gates_of(t), *end = g + p->n_gates;
    vg_updating u;

    u.t = t;
    u.clip = vg_clip(t);
    u.is_sgd = VG_LEARNS_FAST && vg_sgd_begin(&u);
    for (uint32_t n; g < end; g += n) {
        n = vg_joined(g, end);
        update_gates(&u, g, n);
    }
    t->updates++;
    if (!vg_on_symbols(t))
        return;
    vg_forget(t, p->fresh, p->fresh_mark, &p->now.n_fresh);
    if (vg_is_tbptt(t))
        vg_forget(t, p->seen, p->seen_mark, &p->now.n_seen);
}
