/* tbptt_columns.c - gradients as exact sums along the tape. */
#include "dot_time.h"
#include "dot_time_size.h"
#include "tape.h"

static VG_APART int64_t sum_of(const int32_t *e, uint32_t n)
{
    int64_t sum = 0;

    for (const int32_t *end = e + n; e < end; e++)
        sum += *e;
    return sum;
}

/* Of up to 16 errors: 32 bits hold a 16th of their size and, if the piece fits,
 * their sum. */
static void measure_piece(vg_row *r, const int32_t *e, uint32_t n)
{
    uint32_t size = 0, sum = 0;

#ifdef DOT_TIME_MEASURE
    if (n == DOT_PIECE)
        DOT_TIME_MEASURE(e, &sum, &size);
    else
#endif
        dot_time_size(e, n, &size, &sum);
    size += n;
    r->size += (uint64_t)size << 4;
    if (dot_piece_fits((uint64_t)size << 4)) {
        r->sum += (int32_t)sum;
        return;
    }
    r->sum += sum_of(e, n);
    r->fits = 0;
}

void vg_row_measure(vg_row *r, uint32_t k2)
{
    if (!VG_LEARNS_FAST) {
        r->sum = sum_of(r->errors, r->n);
        return;
    }
    r->sum = 0;
    r->size = 0;
    r->fits = !(k2 & 1);
    for (uint32_t at = 0; at < r->n; at += DOT_PIECE)
        measure_piece(r, r->errors + at,
                      r->n - at < DOT_PIECE ? r->n - at : DOT_PIECE);
    while (r->fits && r->n < k2 && r->n % (k2 % 4 ? 2 : 4))
        r->errors[r->n++] = 0;
}

#ifdef DOT_TIME_PAIRS
dot_paired *vg_pair_sources(const vg_train *t, const vg_layer *l,
                            const vg_net *net, uint32_t *steps)
{
    const uint32_t k2 = t->learn.k2, columns = l->n_z - net->skipped;
    const uint32_t n = (vg_plan_of(t)->now.tape_len + 3) & ~(uint32_t)3;
    const vg_gate *last = vg_gates_of(t) + net->first + l->n_gates - 1;
    const uint32_t all = last->rows * last->columns;
    const uint32_t room = 4 * all / (uint32_t)sizeof(dot_paired);
    dot_paired *to;

    /* gradients of symbols that were not seen stay zeros */
    if (k2 % 4 || n > DOT_PIECE || net->skipped || room < columns * n)
        return NULL;
    to = vg_at(t, last->g);
    to += room - (columns & ~(uint32_t)1) * n;
    dot_time_pair(vg_sigs(t, net->z_tape), k2, columns, n, to);
    *steps = n;
    return to;
}

/* Does its kernel take these columns, whose gradients fit? */
static int paired(const vg_row *r, const dot_row *c)
{
#if DOT_TIME_ROW_CUTS
    if (!r->fits || c->exp < DOT_HALF)
        return 0;
#endif
    return c->paired && r->n % 4 == 0 && c->columns > 1 &&
           c->g + c->columns <= r->limit;
}
#else
dot_paired *vg_pair_sources(const vg_train *t, const vg_layer *l,
                            const vg_net *net, uint32_t *steps)
{
    (void)t, (void)l, (void)net, (void)steps;
    return NULL;
}
#endif

#ifdef DOT_TIME_PIECE
/* sum[2] of two columns. */
static void many_pieces(const int32_t *e, const vg_sig *z0, const vg_sig *z1,
                        uint32_t n, int64_t *sum)
{
    for (uint32_t at = 0; at < n; at += DOT_PIECE) {
        const uint32_t left = n - at;
        dot_piece s;
        DOT_TIME_PIECE(e + at, z0 + at, z1 + at,
                       left < DOT_PIECE ? left : DOT_PIECE, &s);
        for (int k = 0; k < 2; k++)
            sum[k] += (int64_t)s.high[k] * (1 << DOT_HALF) + s.low[k];
    }
}
#endif

/* sum[2] of two columns. */
static void two_columns(const vg_row *r, const vg_sig *z0, const vg_sig *z1,
                        int64_t *sum)
{
    sum[0] = sum[1] = 0;
#ifdef DOT_TIME_PIECE
    if (r->fits) {
        many_pieces(r->errors, z0, z1, r->n, sum);
        return;
    }
#endif
    DOT_TIME(r->errors, z0, z1, r->n, sum);
}

#ifdef DOT_TIME_ROW
/* Does the kernel take these columns, whose gradients fit? */
static int taken(const vg_row *r, const dot_row *c)
{
#if DOT_TIME_ROW_CUTS
    if (!r->fits || c->exp < DOT_HALF)
        return 0;
#endif
    return r->n >= DOT_TIME_ROW_LEAST && r->n <= DOT_PIECE && c->columns > 1;
}
#endif

/* rs(sum, exp), exp > 0, that is known to fit. */
static inline int32_t fitting(int64_t sum, int exp)
{
    const uint64_t half = (uint64_t)1 << (exp - 1);

    return (int32_t)(((uint64_t)sum + half) >> exp);
}

void vg_columns_gradient(vg_train *t, const vg_row *r, const dot_row *c)
{
    const vg_sig *z = c->z;
    int32_t *g = c->g;
    uint32_t left = c->columns;
    const int exp = c->exp;
    const int fits =
        VG_LEARNS_FAST && exp > 0 && r->size < (uint64_t)65536 << exp;

#ifdef DOT_TIME_PAIRS
    if (fits && paired(r, c)) {
        DOT_TIME_PAIRS(c);
        z += (left & ~(uint32_t)1) * c->apart;
        g += left & ~(uint32_t)1;
        left &= 1;
    } else
#endif
#ifdef DOT_TIME_ROW
        if (fits && taken(r, c)) {
        DOT_TIME_ROW(c);
        return;
    }
#endif
    for (; left; left -= 2, z += 2 * c->apart, g += 2) {
        int64_t sum[2];
        two_columns(r, z, left > 1 ? z + c->apart : z, sum);
        if (fits) {
            g[0] = fitting(sum[0], exp);
            if (left == 1)
                return;
            g[1] = fitting(sum[1], exp);
            continue;
        }
        vg_keep(t, &g[0], sum[0], exp);
        if (left == 1)
            return;
        vg_keep(t, &g[1], sum[1], exp);
    }
}
