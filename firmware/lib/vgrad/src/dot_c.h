/* dot_c.h - the products of two rows with a vector in portable C99: the
 * reference for every other kernel.  Each adds to sum[2] what w0[n] and w1[n],
 * which may be one, give with z[n].  Sums are exact in 64 bits: |w z| < 2^30
 * and there are fewer than 2^18 columns.
 */
#ifndef VG_DOT_C_H
#define VG_DOT_C_H

#include <stdint.h>

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

/* Words: sum[] += what a group of two or four rows gives with z[n], one word a
 * column.  The weights of every row but the last have their highest bit
 * flipped.  n is a multiple of 4; z[-1] is the sum of z[n]. */

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

#endif
