/* dot_rows.h - the products of rows of weights with errors, row by row: what
 * the vector on the other side gets back.  Adds to sum[columns], up to four,
 * what the columns from w on, `stride` from row to row, give with e[rows],
 * within
 * +-(2^31 - 1).  Sums are exact in 64 bits: |w e| < 2^46 and there are fewer
 * than 2^16 rows.
 */
#ifndef VG_DOT_ROWS_H
#define VG_DOT_ROWS_H

#include "dot_time_c.h"
#include "fx.h"

static inline void dot_rows_c(const int16_t *w, uint32_t stride,
                              const int32_t *e, uint32_t rows, uint32_t columns,
                              int64_t *sum)
{
    for (uint32_t row = 0; row < rows; row++, w += stride)
        for (uint32_t j = 0; j < columns; j++)
            sum[j] += fx_product(e[row], w[j]);
}

#if defined(__thumb2__) && !defined(VG_PORTABLE)
/* Thumb-2: SMLAL adds a product onto 64 bits.  One row of one column. */
#define DOT_ROWS_MUL(low, high, at)                                            \
    __asm__("ldrsh %[a], [%[w], #" at "]\n\t"                                  \
            "smlal %[l], %[h], %[a], %[d]\n\t"                                 \
            : [l] "+r"(low), [h] "+r"(high), [a] "=&r"(a)                      \
            : [w] "r"(w), [d] "r"(d)                                           \
            : "memory")

static inline void dot_rows_mul4(const int16_t *w, uint32_t stride,
                                 const int32_t *e, uint32_t rows, int64_t *sum)
{
    uint32_t low0 = 0, low1 = 0, low2 = 0, low3 = 0;
    uint32_t high0 = 0, high1 = 0, high2 = 0, high3 = 0, a;

    for (const int32_t *const end = e + rows; e < end; w += stride) {
        const int32_t d = *e++;
        DOT_ROWS_MUL(low0, high0, "0");
        DOT_ROWS_MUL(low1, high1, "2");
        DOT_ROWS_MUL(low2, high2, "4");
        DOT_ROWS_MUL(low3, high3, "6");
    }
    sum[0] += (int64_t)((uint64_t)high0 << 32 | low0);
    sum[1] += (int64_t)((uint64_t)high1 << 32 | low1);
    sum[2] += (int64_t)((uint64_t)high2 << 32 | low2);
    sum[3] += (int64_t)((uint64_t)high3 << 32 | low3);
}

#undef DOT_ROWS_MUL
#endif

#if defined(__ARM_ARCH_6M__) && !defined(VG_PORTABLE)
/* Cortex-M0, rows > 0: 32 bits hold the sums of a piece of 16 rows
 * (dot_time_piece.h); what the lows give is the difference of the others. */
static inline void dot_rows_m0(const int16_t *w, uint32_t stride,
                               const int32_t *e, uint32_t rows, int64_t *sum)
{
    uint32_t all = 0, high = 0, d, a, h;

    __asm__(".syntax unified\n"
            "0:\n\t"
            "ldmia %[e]!, {%[d]}\n\t"
            "movs %[a], #0\n\t"
            "ldrsh %[a], [%[w], %[a]]\n\t"
            "asrs %[h], %[d], #12\n\t"
            "add %[w], %[step]\n\t"
            "muls %[d], %[a]\n\t"
            "muls %[h], %[a]\n\t"
            "add %[all], %[d]\n\t"
            "add %[high], %[h]\n\t"
            "cmp %[e], %[end]\n\t"
            "bne 0b\n\t"
            : [all] "+r"(all), [high] "+r"(high), [w] "+l"(w), [e] "+l"(e),
              [d] "=&l"(d), [a] "=&l"(a), [h] "=&l"(h)
            : [step] "r"(2 * stride), [end] "r"(e + rows)
            : "memory", "cc");
    *sum += (int64_t)(int32_t)high * (1 << DOT_HALF) +
            (int32_t)(all - (high << DOT_HALF));
}

static inline int dot_rows_fit(const int32_t *e, uint32_t rows)
{
    uint64_t size = 0;

    for (const int32_t *end = e + rows; e < end; e++)
        size += (uint32_t)(*e < 0 ? -*e : *e);
    return dot_piece_fits(size);
}

static inline void dot_rows(const int16_t *w, uint32_t stride, const int32_t *e,
                            uint32_t rows, uint32_t columns, int64_t *sum)
{
    for (uint32_t n; rows; rows -= n, e += n, w += n * stride) {
        n = rows < DOT_PIECE ? rows : DOT_PIECE;
        if (!dot_rows_fit(e, n))
            dot_rows_c(w, stride, e, n, columns, sum);
        else
            for (uint32_t j = 0; j < columns; j++)
                dot_rows_m0(w + j, stride, e, n, sum + j);
    }
}
#else
#if defined(__AVX2__) && !defined(VG_PORTABLE)
#include "dot_rows_avx2.h"
#endif
/* Of up to four columns. */
static inline void dot_rows(const int16_t *w, uint32_t stride, const int32_t *e,
                            uint32_t rows, uint32_t columns, int64_t *sum)
{
#if defined(__thumb2__) && !defined(VG_PORTABLE)
    if (columns == 4) {
        dot_rows_mul4(w, stride, e, rows, sum);
        return;
    }
#elif defined(__AVX2__) && !defined(VG_PORTABLE)
    if (columns == 4) {
        dot_rows_avx2(w, stride, e, rows, sum);
        return;
    }
#endif
    dot_rows_c(w, stride, e, rows, columns, sum);
}
#endif

#endif
