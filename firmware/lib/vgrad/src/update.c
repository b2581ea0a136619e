/* update.c - from gradients to weights, and exponents that make room for
 * weights that grow.
 */
#include "update.h"

/* ---- one weight ----------------------------------------------------- */

static int32_t moved(vg_updating *u, int32_t master, int64_t change)
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

static void move_bias(vg_updating *u, int32_t *bias, int64_t change)
{
    *bias = moved(u, *bias, change);
    u->full |= *bias >= VG_BIAS_FULL || *bias <= -VG_BIAS_FULL;
}

/* ---- a gate --------------------------------------------------------- */

/* Where the weights and biases of a span's row are. */
typedef struct {
    vg_sig *hi;
    int16_t *lo;
    int32_t *bias;
    int32_t *gradient;
    int32_t *moment; /* null: none */
    uint32_t index;
    int n; /* of the rounding */
} row_place;

static row_place place_of(const vg_train *t, const vg_gate *g, const vg_span *s,
                          uint32_t row, int n)
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
    r.n = n;
    return r;
}

static void move_one(vg_updating *u, const row_place *r, uint32_t j,
                     const vg_sgd *sgd)
{
    int32_t *g = &r->gradient[j];
    const int64_t change =
        sgd ? vg_sgd_step(sgd, *g)
            : vg_change(u, *g, r->moment ? &r->moment[j] : NULL, r->n,
                        r->index + j);

    *g = 0;
    if (r->bias)
        move_bias(u, r->bias, change);
    else
        vg_move_weight(u, &r->hi[j], &r->lo[j], change);
}

static void update_row(vg_updating *u, const row_place *r,
                       const vg_columns *columns, const vg_sgd *sgd)
{
    if (sgd && !columns->list && !r->bias) {
        vg_sgd_row(u, sgd, r->hi, r->lo, r->gradient, columns->count);
        return;
    }
    for (uint32_t k = 0; k < columns->count; k++) {
        const uint32_t j = vg_column(columns, k);
        if (u->rate)
            move_one(u, r, j, sgd);
        else
            r->gradient[j] = 0;
    }
}

static void update_span(vg_updating *u, const vg_gate *g, const vg_span *s)
{
    const vg_columns columns = vg_touched(u->t, g, s);
    const int n = (s->part == VG_BIAS ? 48 : 32 + s->exp) - vg_exp_of(u->t, g);
    vg_sgd sgd;
    const int plain = u->rate && vg_sgd_of(u, n, &sgd);

    for (uint32_t row = 0; row < g->rows; row++) {
        const row_place r = place_of(u->t, g, s, row, n);
        update_row(u, &r, &columns, plain ? &sgd : NULL);
    }
}

/* ---- an update ------------------------------------------------------ */

/* n joined gates. */
static void update_gates(vg_updating *u, vg_gate *g, uint32_t n)
{
    u->full = 0;
    for (uint32_t k = 0; k < n; k++)
        for (const vg_span *s = g[k].span; s < g[k].span + g[k].n_spans; s++) {
            u->rate = vg_rate_of(u->t, &g[k], s->part);
            update_span(u, &g[k], s);
        }
    if (u->full)
        u->t->falls +=
            vg_fall(u->t, g, n, VG_HI_FULL, VG_BIAS_FULL, UINT32_MAX);
}

void vg_update(vg_train *t)
{
    vg_plan *p = vg_plan_of(t);
    vg_gate *g = vg_gates_of(t), *end = g + p->n_gates;
    vg_updating u;

    u.t = t;
    u.clip = vg_clip(t);
    for (uint32_t n; g < end; g += n) {
        n = vg_joined(g, end);
        update_gates(&u, g, n);
    }
    t->updates++;
    if (!vg_on_symbols(t))
        return;
    vg_forget(t, p->fresh, p->fresh_mark, &p->now.n_fresh);
    if (t->learn.method == VG_TBPTT)
        vg_forget(t, p->seen, p->seen_mark, &p->now.n_seen);
}
