/* update.c - from gradients to weights: the norm, clipping, the rules, and
 * exponents that make room for weights that grow.
 */
#include <string.h>

#include "train.h"

enum { HI_FULL = 24576, BIAS_FULL = 3 << 29 };

static int bits(uint64_t x)
{
    int n = 0;

    for (int step = 32; step; step /= 2)
        if (x >> step) {
            x >>= step;
            n += step;
        }
    return n + (int)x;
}

/* ---- the norm ------------------------------------------------------- */

/* A sum of squares below 2^126, q48. */
typedef struct {
    uint64_t high, low;
} square_sum;

static void add_square(square_sum *q, int32_t g)
{
    const uint64_t square = (uint64_t)((int64_t)g * g);

    q->low += square;
    q->high += q->low < square;
}

/* floor(sqrt(x)), digit by digit. */
static uint64_t root(uint64_t x)
{
    uint64_t r = 0;

    for (uint64_t bit = (uint64_t)1 << 62; bit; bit >>= 2)
        if (x >= r + bit) {
            x -= r + bit;
            r = (r >> 1) + bit;
        } else {
            r >>= 1;
        }
    return r;
}

/* N = floor(sqrt(floor(Q / 4^m))) 2^m, q24. */
static uint64_t norm_of(square_sum q)
{
    int m = 0;

    for (; q.high; m++) {
        q.low = q.low >> 2 | q.high << 62;
        q.high >>= 2;
    }
    return root(q.low) << m;
}

/* Clipping (Pascanu 2013): g <- rs(g m, shift); shift 0 leaves g as it is. */
typedef struct {
    int32_t m;
    int shift;
} clipping;

static clipping clip_of(vg_train *t, square_sum q)
{
    const uint64_t threshold = (uint64_t)t->learn.clip_q16;
    const uint64_t square = threshold * threshold; /* q32 */
    const uint64_t high = square >> 48, low = square << 16, c = threshold << 8;
    const uint64_t n = norm_of(q);
    const int n_bits = bits(n), c_bits = bits(c);
    clipping clip = {0, 0};

    t->norm_q16 = n >> 8 > UINT32_MAX ? UINT32_MAX : (uint32_t)(n >> 8);
    if (!threshold || q.high < high || (q.high == high && q.low <= low))
        return clip;
    clip.m = (int32_t)((c << (62 - c_bits)) /
                       (n_bits > 32 ? n >> (n_bits - 32) : n << (32 - n_bits)));
    clip.shift = 30 + n_bits - c_bits;
    t->clipped++;
    return clip;
}

static int32_t clipped(const clipping *clip, int32_t g)
{
    return clip->shift ? (int32_t)fx_round((int64_t)g * clip->m, clip->shift)
                       : g;
}

/* ---- RMSprop -------------------------------------------------------- */

/* 2^30 / sqrt(w / 2^32) for w >= 2^30: a table, and two steps of Newton. */
static uint32_t inverse_root(uint32_t w)
{
    /* floor(2^15 sqrt(64 / (2 k + 1)) + 1/2), k = 8..31 */
    static const uint16_t first[24] = {
        63579, 60140, 57205, 54661, 52429, 50450, 48679, 47082,
        45633, 44310, 43096, 41977, 40940, 39977, 39078, 38238,
        37449, 36708, 36008, 35347, 34722, 34128, 33564, 33027};
    uint64_t y = (uint64_t)first[(w >> 27) - 8] << 15;

    for (int k = 0; k < 2; k++)
        y = y * (((uint64_t)3 << 30) - (w * (y * y >> 30) >> 32)) >> 31;
    return (uint32_t)y;
}

/* floor(x w / 2^14), x < 2^63, w <= 2^14. */
static uint64_t share(uint64_t x, uint32_t w)
{
    return (x >> 14) * w + ((x & 16383) * w >> 14);
}

/* v = g / sqrt(mean of squares); the mean lies in *code. */
static int32_t normalized(const vg_learn *learn, int32_t *code, int32_t g)
{
    const uint32_t old = (uint32_t)*code, decay = (uint32_t)learn->decay_q14;
    const uint32_t old_x = old >> 26 < 38 ? old >> 26 : 37; /* r < 2^63 */
    const uint64_t square = (uint64_t)((int64_t)g * g);
    const uint64_t r = share((uint64_t)(old & 0x3FFFFFF) << old_x, decay) +
                       share(square, VG_ONE - decay);
    const uint64_t q =
        r + (uint64_t)((int64_t)learn->epsilon_q24 * learn->epsilon_q24);
    const int r_bits = bits(r), x = r_bits > 26 ? r_bits - 26 : 0;
    const int j = (64 - bits(q)) & ~1;
    const uint32_t new = (uint32_t)x << 26 | (uint32_t)(r >> x);

    memcpy(code, &new, sizeof new);
    return fx_to31((int64_t)g * inverse_root((uint32_t)(q << j >> 32)),
                   38 - j / 2);
}

/* ---- one weight ----------------------------------------------------- */

/* An update in work: what is the same for all weights of a part. */
typedef struct {
    vg_train *t;
    clipping clip;
    int32_t rate;
    int full; /* did a weight come near its limit? */
} update;

static uint32_t mix(uint32_t u)
{
    u ^= u >> 16;
    u *= 0x7FEB352Du;
    u ^= u >> 15;
    u *= 0x846CA68Bu;
    return u ^ u >> 16;
}

/* -rate v in units of 2^-(48-n), rounded as the settings say. */
static int32_t step_of(const update *u, int32_t v, int n, uint32_t index)
{
    const int64_t exact = -(int64_t)u->rate * v;
    uint32_t hash;
    int64_t noise;

    if (!u->t->learn.seed || n <= 0)
        return fx_to31(exact, n);
    hash = mix(u->t->learn.seed + 0x9E3779B9u * u->t->updates);
    hash = mix(hash + 0x85EBCA6Bu * index);
    noise = n > 32 ? (int64_t)hash << (n - 32) : (int64_t)(hash >> (32 - n));
    return fx_sat31(fx_floor(exact + noise, n));
}

/* rz(decay v, 14): toward zero, so that a decay gets there. */
static int32_t decayed(const vg_learn *learn, int32_t v)
{
    const int64_t x = (int64_t)v * learn->decay_q14;

    return (int32_t)(x < 0 ? -(-x >> 14) : x >> 14);
}

/* The change of a master; g: its gradient, taken and forgotten. */
static int64_t change_of(const update *u, int32_t *g, int32_t *moment, int n,
                         uint32_t index)
{
    const vg_learn *learn = &u->t->learn;
    int32_t v = clipped(&u->clip, *g), s;

    *g = 0;
    if (learn->rule == VG_RMSPROP)
        v = normalized(learn, moment, v);
    s = step_of(u, v, n, index);
    if (learn->rule != VG_MOMENTUM)
        return s;
    *moment = fx_sat31((int64_t)decayed(learn, *moment) + s);
    return learn->flags & VG_NESTEROV ? (int64_t)decayed(learn, *moment) + s
                                      : *moment;
}

static int32_t moved(update *u, int32_t master, int64_t change)
{
    const int64_t sum = master + change;

    master = vg_master(sum);
    u->t->saturated += master != sum;
    return master;
}

/* ---- a gate --------------------------------------------------------- */

/* The columns of a span whose gradient may be other than 0, or, with moments,
 * whose weights may move all the same. */
static vg_columns touched(const vg_train *t, const vg_gate *g, const vg_span *s)
{
    return g->v ? vg_all(g, s) : vg_listed(t, g, s);
}

static void span_squares(const vg_train *t, const vg_gate *g, const vg_span *s,
                         square_sum *q)
{
    const vg_columns columns = touched(t, g, s);

    for (uint32_t row = 0; row < g->rows; row++) {
        const int32_t *gradient =
            vg_ints(t, g->g) + vg_row_at(g, s, g->rows, row);
        for (uint32_t k = 0; k < columns.count; k++)
            add_square(q, gradient[vg_column(&columns, k)]);
    }
}

static square_sum squares(const vg_train *t)
{
    const vg_gate *g = vg_gates_of(t);
    square_sum q = {0, 0};

    for (const vg_gate *end = g + vg_plan_of(t)->n_gates; g < end; g++)
        for (const vg_span *s = g->span; s < g->span + g->n_spans; s++)
            if (s->learns)
                span_squares(t, g, s, &q);
    return q;
}

static void move_weight(update *u, vg_sig *hi, int16_t *lo, int64_t change)
{
    vg_set_master(moved(u, vg_master_of(*hi, *lo), change), hi, lo);
    u->full |= *hi >= HI_FULL || *hi <= -HI_FULL;
}

static void move_bias(update *u, int32_t *bias, int64_t change)
{
    *bias = moved(u, *bias, change);
    u->full |= *bias >= BIAS_FULL || *bias <= -BIAS_FULL;
}

static void update_span(update *u, const vg_gate *g, const vg_span *s)
{
    vg_train *t = u->t;
    const vg_columns columns = touched(t, g, s);
    const uint32_t begin = vg_span_begin(g, s), stride = vg_gate_stride(g);
    const int biases = s->part == VG_BIAS;
    const int n = (biases ? 48 : 32 + s->exp) - vg_exp_of(t, g);

    for (uint32_t row = 0; row < g->rows; row++) {
        const uint32_t at = vg_row_at(g, s, g->rows, row);
        const uint32_t index = g->index + row * vg_in_row(g) + begin;
        int32_t *gradient = vg_ints(t, g->g) + at;
        for (uint32_t k = 0; k < columns.count; k++) {
            const uint32_t j = vg_column(&columns, k);
            const uint32_t weight = row * stride + begin + j;
            int32_t *moment = g->v ? vg_ints(t, g->v) + at + j : NULL;
            int64_t change;
            if (!u->rate) {
                gradient[j] = 0;
                continue;
            }
            change = change_of(u, &gradient[j], moment, n, index + j);
            if (biases)
                move_bias(u, vg_ints(t, g->biases) + row, change);
            else
                move_weight(u, vg_sigs(t, g->weights) + weight,
                            vg_sigs(t, g->lo) + weight, change);
        }
    }
}

/* ---- an update ------------------------------------------------------ */

/* n joined gates. */
static void update_gates(update *u, vg_gate *g, uint32_t n)
{
    u->full = 0;
    for (uint32_t k = 0; k < n; k++)
        for (const vg_span *s = g[k].span; s < g[k].span + g[k].n_spans; s++) {
            u->rate = vg_rate_of(u->t, &g[k], s->part);
            update_span(u, &g[k], s);
        }
    if (u->full)
        u->t->falls += vg_fall(u->t, g, n, HI_FULL, BIAS_FULL, UINT32_MAX);
}

void vg_update(vg_train *t)
{
    vg_plan *p = vg_plan_of(t);
    vg_gate *g = vg_gates_of(t), *end = g + p->n_gates;
    update u;

    u.t = t;
    u.clip = clip_of(t, squares(t));
    for (uint32_t n; g < end; g += n) {
        n = vg_joined(g, end);
        update_gates(&u, g, n);
    }
    t->updates++;
    if (!(t->learn.flags & VG_SYMBOLS))
        return;
    vg_forget(t, p->fresh, p->fresh_mark, &p->now.n_fresh);
    if (t->learn.method == VG_TBPTT)
        vg_forget(t, p->seen, p->seen_mark, &p->now.n_seen);
}
