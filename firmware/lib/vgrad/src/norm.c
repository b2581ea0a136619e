/* norm.c - the norm of all gradients, and what clipping makes of them. */
#include "dot_squares.h"
#include "update.h"

static VG_APART void add_squares(dot_square_sum *q, const int32_t *g,
                                 uint32_t n)
{
    dot_squares(g, n, q);
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
static uint64_t norm_of(dot_square_sum q)
{
    int m = 0;

    for (; q.high; m++) {
        q.low = q.low >> 2 | (uint64_t)q.high << 62;
        q.high >>= 2;
    }
    return root(q.low) << m;
}

static void span_squares(const vg_train *t, const vg_gate *g, const vg_span *s,
                         dot_square_sum *q)
{
    const vg_columns columns = vg_touched(t, g, s);

    for (uint32_t row = 0; row < g->rows; row++) {
        const int32_t *gradient =
            vg_ints(t, g->g) + vg_row_at(g, s, g->rows, row);
        if (!columns.list)
            add_squares(q, gradient, columns.count);
        else
            for (uint32_t k = 0; k < columns.count; k++)
                add_squares(q, gradient + columns.list[k], 1);
    }
}

/* A gate's gradients lie side by side. */
static void gate_squares(const vg_train *t, const vg_gate *g, dot_square_sum *q)
{
    const vg_span *s, *end = g->span + g->n_spans;

    for (s = g->span; s < end && s->learns; s++)
        if (vg_touched(t, g, s).list)
            break;
    if (s == end) {
        add_squares(q, vg_ints(t, g->g), g->rows * vg_in_row(g));
        return;
    }
    for (s = g->span; s < end; s++)
        if (s->learns)
            span_squares(t, g, s, q);
}

static dot_square_sum squares(const vg_train *t)
{
    const vg_gate *g = vg_gates_of(t);
    dot_square_sum q = {0, 0};

    for (const vg_gate *end = g + vg_plan_of(t)->n_gates; g < end; g++)
        gate_squares(t, g, &q);
    return q;
}

/* floor(x / y), x < 2^62, y in [2^31, 2^32), digit by digit: less code than a
 * division of 64 bits. */
static VG_APART uint32_t quotient(uint64_t x, uint32_t y)
{
    uint64_t part = (uint64_t)y << 31;
    uint32_t q = 0;

    for (int k = 0; k < 32; k++, part >>= 1) {
        q <<= 1;
        if (x >= part) {
            x -= part;
            q++;
        }
    }
    return q;
}

vg_clipping vg_clip(vg_train *t)
{
    const dot_square_sum q = squares(t);
    const uint64_t threshold = (uint64_t)t->learn.clip_q16;
    const uint64_t square = threshold * threshold; /* q32 */
    const uint64_t high = square >> 48, low = square << 16, c = threshold << 8;
    const uint64_t n = norm_of(q);
    const int n_bits = vg_bits(n), c_bits = vg_bits(c);
    vg_clipping clip = {0, 0, n};

    t->norm_q16 = n >> 8 > UINT32_MAX ? UINT32_MAX : (uint32_t)(n >> 8);
    if (!threshold || q.high < high || (q.high == high && q.low <= low))
        return clip;
    clip.m = (int32_t)quotient(
        c << (62 - c_bits),
        (uint32_t)(n_bits > 32 ? n >> (n_bits - 32) : n << (32 - n_bits)));
    clip.shift = 30 + n_bits - c_bits;
    t->clipped++;
    return clip;
}
