/* dot_dsp.h - cores with the DSP extension (Cortex-M4, M7, M33, M55): SMLALD
 * adds two products onto 64 bits.  Inline assembly, for compilers agree on it
 * and not on the intrinsics, and none of them makes an LDRD of two loads.
 *
 * An LDRD must be 4-byte aligned; what is not, and the columns after the last
 * four, go to dot_c.h.
 */
#ifndef VG_DOT_DSP_H
#define VG_DOT_DSP_H

#include "dot_c.h"

/* Two sums, as SMLALD takes them. */
typedef struct {
    uint32_t low0, low1;
    int32_t high0, high1;
} dot_dsp_sums;

static inline dot_dsp_sums dot_dsp_open(const int64_t *sum)
{
    const dot_dsp_sums s = {(uint32_t)sum[0], (uint32_t)sum[1],
                            (int32_t)(sum[0] >> 32), (int32_t)(sum[1] >> 32)};
    return s;
}

static inline void dot_dsp_close(const dot_dsp_sums *s, int64_t *sum)
{
    sum[0] = (int64_t)((uint64_t)(uint32_t)s->high0 << 32 | s->low0);
    sum[1] = (int64_t)((uint64_t)(uint32_t)s->high1 << 32 | s->low1);
}

static inline int dot_dsp_aligned(const void *w0, const void *w1, const void *z)
{
    return !(((uintptr_t)w0 | (uintptr_t)w1 | (uintptr_t)z) & 3);
}

/* Four columns of both rows. */
#define DOT_DSP_W16                                                            \
    "ldrd %[z0], %[z1], [%[z]], #8\n\t"                                        \
    "ldrd %[a], %[b], [%[w0]], #8\n\t"                                         \
    "smlald %[low0], %[high0], %[a], %[z0]\n\t"                                \
    "smlald %[low0], %[high0], %[b], %[z1]\n\t"                                \
    "ldrd %[a], %[b], [%[w1]], #8\n\t"                                         \
    "smlald %[low1], %[high1], %[a], %[z0]\n\t"                                \
    "smlald %[low1], %[high1], %[b], %[z1]\n\t"

/* SXTB16 takes bytes 0 and 2 of a word or, rotated, 1 and 3: z goes in such
 * pairs, too. */
#define DOT_DSP_W8                                                             \
    "ldrd %[a], %[b], [%[z]], #8\n\t"                                          \
    "pkhbt %[z0], %[a], %[b], lsl #16\n\t"                                     \
    "pkhtb %[z1], %[b], %[a], asr #16\n\t"                                     \
    "ldr %[a], [%[w0]], #4\n\t"                                                \
    "sxtb16 %[b], %[a]\n\t"                                                    \
    "sxtb16 %[a], %[a], ror #8\n\t"                                            \
    "smlald %[low0], %[high0], %[b], %[z0]\n\t"                                \
    "smlald %[low0], %[high0], %[a], %[z1]\n\t"                                \
    "ldr %[a], [%[w1]], #4\n\t"                                                \
    "sxtb16 %[b], %[a]\n\t"                                                    \
    "sxtb16 %[a], %[a], ror #8\n\t"                                            \
    "smlald %[low1], %[high1], %[b], %[z0]\n\t"                                \
    "smlald %[low1], %[high1], %[a], %[z1]\n\t"

#define DOT_DSP(columns)                                                       \
    __asm__(                                                                   \
        columns                                                                \
        : [low0] "+r"(s.low0), [high0] "+r"(s.high0), [low1] "+r"(s.low1),     \
          [high1] "+r"(s.high1), [w0] "+r"(w0), [w1] "+r"(w1), [z] "+r"(z),    \
          [z0] "=&r"(z0), [z1] "=&r"(z1), [a] "=&r"(a), [b] "=&r"(b)           \
        :                                                                      \
        : "memory")

#define DOT_DSP_ALL(four)                                                      \
    if (dot_dsp_aligned(w0, w1, z)) {                                          \
        dot_dsp_sums s = dot_dsp_open(sum);                                    \
        uint32_t z0, z1, a, b;                                                 \
        for (uint32_t k = n / 16; k; k--)                                      \
            DOT_DSP(four four four four);                                      \
        for (uint32_t k = n / 4 & 3; k; k--)                                   \
            DOT_DSP(four);                                                     \
        dot_dsp_close(&s, sum);                                                \
        n &= 3;                                                                \
    }

static inline void dot_dsp_w16(const int16_t *w0, const int16_t *w1,
                               const int16_t *z, uint32_t n, int64_t *sum)
{
    DOT_DSP_ALL(DOT_DSP_W16)
    dot_c_w16(w0, w1, z, n, sum);
}

static inline void dot_dsp_w8(const int8_t *w0, const int8_t *w1,
                              const int16_t *z, uint32_t n, int64_t *sum)
{
    DOT_DSP_ALL(DOT_DSP_W8)
    dot_c_w8(w0, w1, z, n, sum);
}

/* w z of a padded row. */
static VG_APART int64_t dot_dsp_row16(const int16_t *w, const int16_t *z,
                                      uint32_t n)
{
    int64_t sum = 0;
    uint32_t z0, z1, w0, w1;

    for (n /= 4; n; n--)
        __asm__("ldrd %[z0], %[z1], [%[z]], #8\n\t"
                "ldrd %[w0], %[w1], [%[w]], #8\n\t"
                "smlald %Q[sum], %R[sum], %[w0], %[z0]\n\t"
                "smlald %Q[sum], %R[sum], %[w1], %[z1]"
                : [sum] "+r"(sum), [z] "+r"(z), [w] "+r"(w), [z0] "=&r"(z0),
                  [z1] "=&r"(z1), [w0] "=&r"(w0), [w1] "=&r"(w1)
                :
                : "memory");
    return sum;
}

/* Maps that no kernel of dot_dsp_map.h takes, most of one row. */
static inline void dot_dsp_any16(const dot_map *m, int16_t *a)
{
    DOT_C_ROWS(int16_t, 0, dot_dsp_row16)
}

static VG_APART void dot_dsp_any8(const dot_map *m, int16_t *a)
{
    DOT_C_MAP(int8_t, 1, dot_dsp_w8)
}

#undef DOT_DSP_ALL
#undef DOT_DSP
#undef DOT_DSP_W8
#undef DOT_DSP_W16

#endif
