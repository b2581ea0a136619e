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

#endif
