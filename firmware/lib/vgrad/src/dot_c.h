/* dot_c.h - the kernels in portable C99: the reference for every other one.
 *
 * dot_c_w16, _w8: the products of two rows with a vector.  Each adds to sum[2]
 * what w0[n] and w1[n], which may be one, give with z[n].
 *
 * dot_c_map16, _map8: a whole map at once, from sums to rounded results.
 *
 * Sums are exact in 64 bits: |w z| < 2^30 and there are fewer than 2^18
 * columns.
 */
#ifndef VG_DOT_C_H
#define VG_DOT_C_H

#include "fx.h"

/* A map whose z is one piece.  Rows are padded to stride, a multiple of 4, with
 * zeros: a kernel may run to it, whatever z holds there, and change z's order
 * until it is done. */
typedef struct {
    const void *w;       /* [rows][stride], 4-byte aligned */
    const int32_t *b;    /* [rows]; null: none */
    const uint8_t *exps; /* the sums': of 16-bit weights one, else [rows] */
    const void *z;       /* int16[stride], 4-byte aligned; of words int32 */
    uint32_t rows;
    uint32_t stride;
    int32_t arg_exp; /* of the results: 1 <= exps[] - arg_exp <= 31 */
} dot_map;

/* Maps of one shape that read one z and lie one behind the other, up to
 * exps[]. */
typedef struct {
    dot_map map; /* the first one, without arg_exp */
    uint8_t n;
    uint8_t arg_exps[7]; /* kernels write there, too, and behind the last one */
} dot_gates;

static inline int64_t dot_c_row16(const int16_t *w, const int16_t *z,
                                  uint32_t n)
{
    int64_t sum = 0;
    for (uint32_t j = 0; j < n; j++)
        sum += (int32_t)w[j] * z[j];
    return sum;
}

static inline int64_t dot_c_row8(const int8_t *w, const int16_t *z, uint32_t n)
{
    int64_t sum = 0;
    for (uint32_t j = 0; j < n; j++)
        sum += (int32_t)w[j] * z[j];
    return sum;
}

static inline void dot_c_w16(const int16_t *w0, const int16_t *w1,
                             const int16_t *z, uint32_t n, int64_t *sum)
{
    sum[0] += dot_c_row16(w0, z, n);
    sum[1] += dot_c_row16(w1, z, n);
}

static inline void dot_c_w8(const int8_t *w0, const int8_t *w1,
                            const int16_t *z, uint32_t n, int64_t *sum)
{
    sum[0] += dot_c_row8(w0, z, n);
    sum[1] += dot_c_row8(w1, z, n);
}

/* Words (words.c): sum[] += what a group of two or four rows gives with z[n],
 * one word a column.  The weights of every row but the last have their highest
 * bit flipped.  n is a multiple of 4; z[-1] is the sum of z[n]. */

static inline void dot_c_words16(const uint32_t *w, const int32_t *z,
                                 uint32_t n, int64_t *sum)
{
    for (uint32_t j = 0; j < n; j++) {
        sum[0] += ((int32_t)(w[j] & 0xFFFF) - 0x8000) * z[j];
        sum[1] += ((int32_t)(w[j] >> 16 ^ 0x8000) - 0x8000) * z[j];
    }
}

static inline void dot_c_words8(const uint32_t *w, const int32_t *z, uint32_t n,
                                int64_t *sum)
{
    for (uint32_t j = 0; j < n; j++) {
        const uint32_t v = w[j] ^ 0x80000000; /* now all are flipped */
        for (int k = 0; k < 4; k++)
            sum[k] += ((int32_t)(v >> 8 * k & 0xFF) - 0x80) * z[j];
    }
}

/* A map in words, of one block of columns, by groups.  Returns how many rows,
 * from the first on; here none, and dot_c_words16 and _8 do it. */
static inline uint32_t dot_c_words_map(const dot_map *m, int16_t *a)
{
    (void)m;
    (void)a;
    return 0;
}

/* A whole map, a[rows] = sat16(rs(b + W z, exps[] - arg_exp)), by a kernel of
 * two rows.  each is 0 where the rows have one exponent, else 1. */
#define DOT_C_MAP(type, each, two_rows)                                        \
    const type *w = m->w;                                                      \
    for (uint32_t row = 0; row < m->rows; row += 2) {                          \
        const uint32_t next = row + 1 < m->rows;                               \
        int64_t sum[2] = {0, 0};                                               \
        two_rows(w, w + next * m->stride, m->z, m->stride, sum);               \
        w += (1 + next) * m->stride;                                           \
        for (uint32_t k = row; k <= row + next; k++)                           \
            a[k] = fx_narrow(fx_rs31(sum[k - row] + (m->b ? m->b[k] : 0),      \
                                     m->exps[each * k] - m->arg_exp));         \
    }

/* The same row by row. */
#define DOT_C_ROWS(type, each, one_row)                                        \
    const type *w = m->w;                                                      \
    for (uint32_t row = 0; row < m->rows; row++, w += m->stride) {             \
        const int64_t sum = one_row(w, m->z, m->stride);                       \
        a[row] = fx_narrow(fx_rs31(sum + (m->b ? m->b[row] : 0),               \
                                   m->exps[(each) * row] - m->arg_exp));       \
    }

/* a of maps one by one. */
#define DOT_C_GATES(type, each, one)                                           \
    dot_map *const m = &g->map;                                                \
    for (uint32_t k = 0; k < g->n; k++, a += m->rows) {                        \
        m->arg_exp = g->arg_exps[k];                                           \
        one(m, a);                                                             \
        m->w = (const type *)m->w + m->rows * m->stride;                       \
        m->b = m->b ? m->b + m->rows : m->b;                                   \
        m->exps += each ? m->rows : 1;                                         \
    }

static inline void dot_c_map16(const dot_map *m, int16_t *a)
{
    DOT_C_MAP(int16_t, 0, dot_c_w16)
}

static inline void dot_c_map8(const dot_map *m, int16_t *a)
{
    DOT_C_MAP(int8_t, 1, dot_c_w8)
}

#endif
