/* dot_squares.h - exact sums of squares.  Each kernel adds to a sum those of
 * g[n], within +-(2^31 - 1): four are below 2^64.
 */
#ifndef VG_DOT_SQUARES_H
#define VG_DOT_SQUARES_H

#include "fx.h"
#include "options.h"

/* 2^64 high + low */
typedef struct {
    uint64_t low;
    uint32_t high;
} dot_square_sum;

static inline void dot_squares_add(dot_square_sum *s, uint64_t more)
{
    s->low += more;
    s->high += s->low < more;
}

static inline void dot_squares_c(const int32_t *g, uint32_t n,
                                 dot_square_sum *s)
{
    for (const int32_t *end = g + n; g < end; g++)
        dot_squares_add(s, (uint64_t)fx_product(*g, *g));
}

#if !VG_LEARNS_FAST
#define dot_squares dot_squares_c
#elif VG_THUMB2
#define DOT_SQUARES_FOUR                                                       \
    "ldrd %[a], %[b], [%[g]], #8\n\t"                                          \
    "smull %[c], %[d], %[a], %[a]\n\t"                                         \
    "smlal %[c], %[d], %[b], %[b]\n\t"                                         \
    "ldrd %[a], %[b], [%[g]], #8\n\t"                                          \
    "smlal %[c], %[d], %[a], %[a]\n\t"                                         \
    "smlal %[c], %[d], %[b], %[b]\n\t"                                         \
    "adds %[low], %[low], %[c]\n\t"                                            \
    "adcs %[mid], %[mid], %[d]\n\t"                                            \
    "adc %[high], %[high], #0\n\t"

static inline void dot_squares(const int32_t *g, uint32_t n, dot_square_sum *s)
{
    uint32_t low = (uint32_t)s->low, mid = (uint32_t)(s->low >> 32), a, b, c, d;

    if (n >= 4)
        __asm__("tst %[n], #4\n\t"
                "bne 1f\n"
                "0:\n\t" DOT_SQUARES_FOUR "1:\n\t" DOT_SQUARES_FOUR
                "cmp %[g], %[end]\n\t"
                "bne 0b"
                : [low] "+r"(low), [mid] "+r"(mid), [high] "+r"(s->high),
                  [g] "+r"(g), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c),
                  [d] "=&r"(d)
                : [n] "r"(n), [end] "r"(g + (n & ~(uint32_t)3))
                : "memory", "cc");
    s->low = (uint64_t)mid << 32 | low;
    dot_squares_c(g, n & 3, s);
}

#undef DOT_SQUARES_FOUR
#elif VG_THUMB1
/* Of g[n], n > 0, with h = floor(g / 2^12), modulo 2^32. */
typedef struct {
    uint32_t gg;     /* the sum of g^2 */
    uint32_t large;  /* 0 or 1: all are within +-2^25 */
    uint32_t hh, hg; /* the sums of h^2 and h g */
} dot_squares_part;

/* A naked function, for the loop needs more registers than compilers give. */
static VG_NAKED void dot_squares_m0(VG_UNUSED(const int32_t *, g),
                                    VG_UNUSED(uint32_t, n),
                                    VG_UNUSED(dot_squares_part *, p))
{
    __asm__ volatile(".syntax unified\n\t"
                     "push {r2, r4-r7, lr}\n\t"
                     "lsls r1, r1, #2\n\t"
                     "adds r1, r1, r0\n\t"
                     "movs r5, #0\n\t"
                     "movs r6, #0\n\t"
                     "movs r7, #0\n\t"
                     "mov r12, r5\n"
                     "0:\n\t"
                     "ldmia r0!, {r2}\n\t"
                     "asrs r3, r2, #25\n\t"
                     "adds r3, #1\n\t"
                     "orrs r5, r3\n\t"
                     "asrs r4, r2, #12\n\t"
                     "mov r3, r4\n\t"
                     "muls r3, r4\n\t"
                     "muls r4, r2\n\t"
                     "muls r2, r2\n\t"
                     "adds r6, r6, r3\n\t"
                     "adds r7, r7, r4\n\t"
                     "add r12, r2\n\t"
                     "cmp r0, r1\n\t"
                     "bne 0b\n\t"
                     "pop {r0}\n\t"
                     "mov r4, r12\n\t"
                     "stmia r0!, {r4-r7}\n\t"
                     "pop {r4-r7, pc}");
}

/* Of 1 to 32 below 2^25 the sums of h^2, h l and l^2 with l = g - 2^12 h are
 * below 2^32: p has them all.  0 if one is not below 2^25. */
static inline int dot_squares_small(const int32_t *g, uint32_t n,
                                    dot_square_sum *s)
{
    dot_squares_part p;
    int32_t hl;

    dot_squares_m0(g, n, &p);
    if (p.large > 1)
        return 0;
    hl = (int32_t)(p.hg - (p.hh << 12));
    p.gg -= (p.hh << 24) + ((uint32_t)hl << 13);
    dot_squares_add(s, ((uint64_t)p.hh << 24) + p.gg +
                           (uint64_t)((int64_t)hl * (1 << 13)));
    return 1;
}

static inline void dot_squares(const int32_t *g, uint32_t n, dot_square_sum *s)
{
    for (uint32_t some; n; n -= some, g += some) {
        some = n < 32 ? n : 32;
        if (!dot_squares_small(g, some, s))
            dot_squares_c(g, some, s);
    }
}
#elif defined(__AVX2__) && !defined(VG_PORTABLE)
#include <immintrin.h>

/* Squares are below 2^62.  Two added up go into a sum of their low and one of
 * their high words, which n cannot fill. */
static inline void dot_squares(const int32_t *g, uint32_t n, dot_square_sum *s)
{
    const __m256i word = _mm256_set1_epi64x(0xFFFFFFFF);
    __m256i low = _mm256_setzero_si256(), high = low;
    uint64_t lows[4], highs[4];

    for (; n >= 8; n -= 8, g += 8) {
        const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)g);
        const __m256i odd = _mm256_srli_epi64(x, 32);
        const __m256i two = _mm256_add_epi64(_mm256_mul_epi32(x, x),
                                             _mm256_mul_epi32(odd, odd));
        low = _mm256_add_epi64(low, _mm256_and_si256(two, word));
        high = _mm256_add_epi64(high, _mm256_srli_epi64(two, 32));
    }
    _mm256_storeu_si256((__m256i *)(void *)lows, low);
    _mm256_storeu_si256((__m256i *)(void *)highs, high);
    for (int k = 0; k < 4; k++) {
        dot_squares_add(s, lows[k]);
        dot_squares_add(s, highs[k] << 32);
        s->high += (uint32_t)(highs[k] >> 32);
    }
    dot_squares_c(g, n, s);
}
#else
#define dot_squares dot_squares_c
#endif

#endif
