/* dot_time_m0.h - Cortex-M0: a multiplication gives the lower 32 bits.  Sums of
 * high z and, modulo 2^32, of e z: what the lows give is the difference, for it
 * fits (dot_time_piece.h).
 */
#ifndef VG_DOT_TIME_M0_H
#define VG_DOT_TIME_M0_H

#include "dot_time_piece.h"

/* One step: w is e, z its source. */
#define DOT_TIME_STEP(z)                                                       \
    "ldmia %[e]!, {%[w]}\n\t"                                                  \
    "asrs %[h], %[w], #12\n\t"                                                 \
    "muls %[w], %[" z "]\n\t"                                                  \
    "muls %[h], %[" z "]\n\t"                                                  \
    "add %[all], %[w]\n\t"                                                     \
    "add %[high], %[h]\n\t"

#define DOT_TIME_STEPS                                                         \
    "ldmia %[z]!, {%[pair]}\n\t"                                               \
    "sxth %[a], %[pair]\n\t" DOT_TIME_STEP(                                    \
        "a") "asrs %[pair], %[pair], #16\n\t" DOT_TIME_STEP("pair")

/* Any register: clang takes the low ones alone for r. */
#ifdef __clang__
#define DOT_TIME_ANY "h"
#else
#define DOT_TIME_ANY "r"
#endif

static inline void dot_time_m0_one(const int32_t *e, const int16_t *z,
                                   uint32_t n, int32_t *low, int32_t *high)
{
    uint32_t all = 0, sum = 0, a, pair, w, h;

    __asm__(".syntax unified\n\t"
            "0:\n\t" DOT_TIME_STEPS "cmp %[e], %[end]\n\t"
            "bne 0b\n\t"
            : [e] "+l"(e), [z] "+l"(z), [all] "+" DOT_TIME_ANY(all),
              [high] "+" DOT_TIME_ANY(sum), [a] "=&l"(a), [pair] "=&l"(pair),
              [w] "=&l"(w), [h] "=&l"(h)
            : [end] DOT_TIME_ANY(e + n)
            : "memory", "cc");
    *low = (int32_t)(all - (sum << DOT_HALF));
    *high = (int32_t)sum;
}

/* n is even, not 0, and a source lies at a word. */
static inline void dot_time_m0(const int32_t *e, const int16_t *z0,
                               const int16_t *z1, uint32_t n, dot_piece *s)
{
    dot_time_m0_one(e, z0, n, &s->low[0], &s->high[0]);
    dot_time_m0_one(e, z1, n, &s->low[1], &s->high[1]);
}

#undef DOT_TIME_ANY
#undef DOT_TIME_STEPS
#undef DOT_TIME_STEP

#endif
