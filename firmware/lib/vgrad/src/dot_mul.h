/* dot_mul.h - Thumb-2 without the DSP extension (Cortex-M3): SMLAL adds a
 * product onto 64 bits.  Inline assembly, for compilers keep three pointers and
 * two sums in registers only when they are told to.
 */
#ifndef VG_DOT_MUL_H
#define VG_DOT_MUL_H

#include "dot_c.h"

/* One column of both rows; load is LDRSH or LDRSB, a weight's. */
#define DOT_MUL_COLUMN(load, size)                                             \
    "ldrsh %[a], [%[z]], #2\n\t" load " %[b], [%[w0]], #" size "\n\t"          \
    "smlal %[low0], %[high0], %[b], %[a]\n\t" load " %[b], [%[w1]], #" size    \
    "\n\t"                                                                     \
    "smlal %[low1], %[high1], %[b], %[a]\n\t"

#define DOT_MUL(columns)                                                       \
    __asm__(columns                                                            \
            : [low0] "+r"(low0), [high0] "+r"(high0), [low1] "+r"(low1),       \
              [high1] "+r"(high1), [w0] "+r"(w0), [w1] "+r"(w1), [z] "+r"(z),  \
              [a] "=&r"(a), [b] "=&r"(b)                                       \
            :                                                                  \
            : "memory")

#define DOT_MUL_ALL(one)                                                       \
    uint32_t low0 = 0, low1 = 0, high0 = 0, high1 = 0, a, b;                   \
    for (; n >= 8; n -= 8)                                                     \
        DOT_MUL(one one one one one one one one);                              \
    for (; n; n--)                                                             \
        DOT_MUL(one);                                                          \
    sum[0] += (int64_t)((uint64_t)high0 << 32 | low0);                         \
    sum[1] += (int64_t)((uint64_t)high1 << 32 | low1);

static inline void dot_mul_w16(const int16_t *w0, const int16_t *w1,
                               const int16_t *z, uint32_t n, int64_t *sum)
{
    DOT_MUL_ALL(DOT_MUL_COLUMN("ldrsh", "2"))
}

static inline void dot_mul_w8(const int8_t *w0, const int8_t *w1,
                              const int16_t *z, uint32_t n, int64_t *sum)
{
    DOT_MUL_ALL(DOT_MUL_COLUMN("ldrsb", "1"))
}

static inline void dot_mul_map16(const dot_map *m, int16_t *a)
{
    DOT_C_MAP(int16_t, 0, dot_mul_w16)
}

static inline void dot_mul_map8(const dot_map *m, int16_t *a)
{
    DOT_C_MAP(int8_t, 1, dot_mul_w8)
}

#undef DOT_MUL
#undef DOT_MUL_ALL
#undef DOT_MUL_COLUMN

#endif
