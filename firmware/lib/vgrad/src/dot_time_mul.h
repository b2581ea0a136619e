/* dot_time_mul.h - Thumb-2 without the DSP extension (Cortex-M3): SMLAL adds a
 * product onto 64 bits.
 */
#ifndef VG_DOT_TIME_MUL_H
#define VG_DOT_TIME_MUL_H

#include "dot_time_c.h"

/* Two steps of both sources. */
#define DOT_TIME_MUL                                                           \
    "ldrd %[e0], %[e1], [%[e]], #8\n\t"                                        \
    "ldrsh %[a], [%[z0]], #2\n\t"                                              \
    "ldrsh %[b], [%[z1]], #2\n\t"                                              \
    "smlal %[low0], %[high0], %[a], %[e0]\n\t"                                 \
    "smlal %[low1], %[high1], %[b], %[e0]\n\t"                                 \
    "ldrsh %[a], [%[z0]], #2\n\t"                                              \
    "ldrsh %[b], [%[z1]], #2\n\t"                                              \
    "smlal %[low0], %[high0], %[a], %[e1]\n\t"                                 \
    "smlal %[low1], %[high1], %[b], %[e1]\n\t"

#define DOT_TIME_STEPS(steps)                                                  \
    __asm__(steps                                                              \
            : [low0] "+r"(low0), [high0] "+r"(high0), [low1] "+r"(low1),       \
              [high1] "+r"(high1), [e] "+r"(e), [z0] "+r"(z0), [z1] "+r"(z1),  \
              [e0] "=&r"(e0), [e1] "=&r"(e1), [a] "=&r"(a), [b] "=&r"(b)       \
            :                                                                  \
            : "memory")

static inline void dot_time_mul(const int32_t *e, const int16_t *z0,
                                const int16_t *z1, uint32_t n, int64_t *sum)
{
    uint32_t low0 = 0, low1 = 0, high0 = 0, high1 = 0, e0, e1, a, b;

    for (; n >= 8; n -= 8)
        DOT_TIME_STEPS(DOT_TIME_MUL DOT_TIME_MUL DOT_TIME_MUL DOT_TIME_MUL);
    for (; n >= 2; n -= 2)
        DOT_TIME_STEPS(DOT_TIME_MUL);
    sum[0] += (int64_t)((uint64_t)high0 << 32 | low0);
    sum[1] += (int64_t)((uint64_t)high1 << 32 | low1);
    dot_time_c(e, z0, z1, n, sum);
}

#undef DOT_TIME_STEPS
#undef DOT_TIME_MUL

#endif
