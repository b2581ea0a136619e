/* tbptt_columns.c - gradients as exact sums along the tape, two columns at
 * once.
 */
#include "dot_time.h"
#include "tape.h"

void vg_row_measure(vg_row *r, uint32_t k2, int exp)
{
    int32_t *e = r->errors;
    uint32_t left = r->n;
    int fit = !(k2 & 1);

    for (r->size = 0; left;) {
        uint64_t size = 0;
        for (uint32_t n = left < DOT_PIECE ? left : DOT_PIECE; n; n--, left--) {
            size += (uint32_t)(*e < 0 ? -*e : *e);
            e++;
        }
        r->size += size;
        fit &= dot_piece_fits(size);
    }
    r->cut = 0;
#ifdef DOT_TIME_PIECE
    if (!fit || (!DOT_TIME_MANY && (r->n > DOT_PIECE || exp < DOT_HALF)))
        return;
    if (r->n & 1) {
        *e = 0;
        r->n++;
    }
    r->cut = 1;
    DOT_TIME_CUT(r->errors, r->n);
#else
    (void)exp;
    (void)fit;
#endif
}

#ifdef DOT_TIME_PIECE
/* The columns, two at once, of a row that is one piece, cut; a last one alone
 * is the second, too. */
static void one_piece(const int32_t *e, uint32_t n, const vg_row_columns *c)
{
    const uint32_t apart = c->apart;
    const vg_sig *z = c->z;
    const int exp = c->exp;
    int32_t *g = c->g;

    for (int32_t left = (int32_t)c->n; left > 0; left -= 2, g += 2) {
        const uint32_t second = left > 1;
        dot_piece s;
        DOT_TIME_PIECE(e, z, second ? z + apart : z, n, &s);
        g[0] = dot_piece_rs(s.high[0], s.low[0], exp);
        g[second] = dot_piece_rs(s.high[1], s.low[1], exp);
        z += 2 * apart;
    }
}

/* sum[2] of two columns of a row that is cut. */
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
    if (DOT_TIME_MANY && r->cut) {
        many_pieces(r->errors, z0, z1, r->n, sum);
        return;
    }
#endif
    DOT_TIME(r->errors, z0, z1, r->n, sum);
}

/* rs(sum, exp), exp > 0, that is known to fit. */
static inline int32_t fitting(int64_t sum, int exp)
{
    const uint64_t half = (uint64_t)1 << (exp - 1);

    return (int32_t)(((uint64_t)sum + half) >> exp);
}

void vg_columns_gradient(vg_train *t, const vg_row *r, const vg_row_columns *c)
{
    const vg_sig *z = c->z;
    int32_t *g = c->g;
    const int exp = c->exp, fits = exp > 0 && r->size < (uint64_t)65536 << exp;

#ifdef DOT_TIME_ROW
    if (r->n == DOT_PIECE && exp >= DOT_HALF && dot_piece_fits(r->size)) {
        DOT_TIME_ROW(r->errors, z, c->apart, c->n, exp, g);
        return;
    }
#endif
#ifdef DOT_TIME_PIECE
    if (r->cut && r->n <= DOT_PIECE && exp >= DOT_HALF) {
        one_piece(r->errors, r->n, c);
        return;
    }
#endif
    for (uint32_t left = c->n; left; left -= 2, z += 2 * c->apart, g += 2) {
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
