/* dot_time_dsp.h - cores with the DSP extension (Cortex-M4, M7, M33, M55):
 * SMLAD adds the products of two steps onto 32 bits, for errors that
 * dot_time_dsp_cut has cut into halves (dot_time_piece.h) where they were: two
 * steps in two words, the lows and then the highs.
 */
#ifndef VG_DOT_TIME_DSP_H
#define VG_DOT_TIME_DSP_H

#include "dot_time_piece.h"

/* n is even. */
static inline void dot_time_dsp_cut(int32_t *e, uint32_t n)
{
    for (; n; n -= 2, e += 2) {
        const uint32_t first = (uint32_t)e[0], second = (uint32_t)e[1];
        const uint32_t high = (uint32_t)fx_floor32(e[0], DOT_HALF) & 0xFFFF;
        e[0] = (int32_t)((first & 4095) | (second & 4095) << 16);
        e[1] = (int32_t)(high | (second >> DOT_HALF) << 16);
    }
}

/* Four steps of both sources, and two. */
#define DOT_TIME_FOUR                                                          \
    "ldrd %[a], %[b], [%[e]], #8\n\t"                                          \
    "ldrd %[z], %[y], [%[z0]], #8\n\t"                                         \
    "smlad %[low0], %[a], %[z], %[low0]\n\t"                                   \
    "smlad %[high0], %[b], %[z], %[high0]\n\t"                                 \
    "ldrd %[c], %[d], [%[e]], #8\n\t"                                          \
    "smlad %[low0], %[c], %[y], %[low0]\n\t"                                   \
    "smlad %[high0], %[d], %[y], %[high0]\n\t"                                 \
    "ldrd %[z], %[y], [%[z1]], #8\n\t"                                         \
    "smlad %[low1], %[a], %[z], %[low1]\n\t"                                   \
    "smlad %[high1], %[b], %[z], %[high1]\n\t"                                 \
    "smlad %[low1], %[c], %[y], %[low1]\n\t"                                   \
    "smlad %[high1], %[d], %[y], %[high1]\n\t"

#define DOT_TIME_TWO                                                           \
    "ldrd %[a], %[b], [%[e]], #8\n\t"                                          \
    "ldr %[z], [%[z0]], #4\n\t"                                                \
    "ldr %[y], [%[z1]], #4\n\t"                                                \
    "smlad %[low0], %[a], %[z], %[low0]\n\t"                                   \
    "smlad %[high0], %[b], %[z], %[high0]\n\t"                                 \
    "smlad %[low1], %[a], %[y], %[low1]\n\t"                                   \
    "smlad %[high1], %[b], %[y], %[high1]\n\t"

#define DOT_TIME_STEPS(steps)                                                  \
    __asm__(steps                                                              \
            : [low0] "+r"(low0), [high0] "+r"(high0), [low1] "+r"(low1),       \
              [high1] "+r"(high1), [e] "+r"(e), [z0] "+r"(z0), [z1] "+r"(z1),  \
              [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d),          \
              [z] "=&r"(z), [y] "=&r"(y)                                       \
            :                                                                  \
            : "memory")

/* n is even, and a source lies at a word. */
static inline void dot_time_dsp(const int32_t *e, const int16_t *z0,
                                const int16_t *z1, uint32_t n, dot_piece *s)
{
    int32_t low0 = 0, low1 = 0, high0 = 0, high1 = 0;
    uint32_t a, b, c, d, z, y;

    if (n == DOT_PIECE) {
        DOT_TIME_STEPS(DOT_TIME_FOUR DOT_TIME_FOUR DOT_TIME_FOUR DOT_TIME_FOUR);
    } else {
        for (; n >= 4; n -= 4)
            DOT_TIME_STEPS(DOT_TIME_FOUR);
        if (n)
            DOT_TIME_STEPS(DOT_TIME_TWO);
    }
    s->low[0] = low0;
    s->low[1] = low1;
    s->high[0] = high0;
    s->high[1] = high1;
}

#undef DOT_TIME_STEPS
#undef DOT_TIME_TWO
#undef DOT_TIME_FOUR

#endif
