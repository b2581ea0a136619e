/* dot_c.h - the dot products in portable C99: the reference for every other
 * kernel.  Sums are exact in 64 bits: |w z| < 2^30 and there are fewer than
 * 2^18 columns.
 */
#ifndef VG_DOT_C_H
#define VG_DOT_C_H

#include <stdint.h>

static inline int64_t dot_w16(const int16_t *w, const int16_t *z, uint32_t n)
{
    int64_t sum = 0;
    for (uint32_t j = 0; j < n; j++)
        sum += (int32_t)w[j] * z[j];
    return sum;
}

static inline int64_t dot_w8(const int8_t *w, const int16_t *z, uint32_t n)
{
    int64_t sum = 0;
    for (uint32_t j = 0; j < n; j++)
        sum += (int32_t)w[j] * z[j];
    return sum;
}

#endif
