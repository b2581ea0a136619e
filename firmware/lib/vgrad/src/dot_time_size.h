/* dot_time_size.h - how large a piece of at most 16 errors of the tape is.  To
 * size it adds a 16th of each, its sign left out, and to sum the error, modulo
 * 2^32.
 */
#ifndef VG_DOT_TIME_SIZE_H
#define VG_DOT_TIME_SIZE_H

#include <stdint.h>

#include "target.h"

static inline void dot_time_size_c(const int32_t *e, uint32_t n, uint32_t *size,
                                   uint32_t *sum)
{
    for (const int32_t *end = e + n; e < end; e++) {
        *size += (uint32_t)(*e < 0 ? ~*e : *e) >> 4; /* ~e is |e| - 1 */
        *sum += (uint32_t)*e;
    }
}

#if VG_THUMB2
#define DOT_TIME_SIZE_ONE(e)                                                   \
    "add %[sum], " e "\n\t"                                                    \
    "eor " e ", " e ", " e ", asr #31\n\t"                                     \
    "add %[size], %[size], " e ", lsr #4\n\t"
#define DOT_TIME_SIZE_TWO                                                      \
    "ldrd %[a], %[b], [%[e]], #8\n\t" DOT_TIME_SIZE_ONE("%[a]")                \
        DOT_TIME_SIZE_ONE("%[b]")

static inline void dot_time_size(const int32_t *e, uint32_t n, uint32_t *size,
                                 uint32_t *sum)
{
    uint32_t s = *size, all = *sum, a, b;

    if (n > 1)
        __asm__("tst %[n], #2\n\t"
                "bne 1f\n"
                "0:\n\t" DOT_TIME_SIZE_TWO "1:\n\t" DOT_TIME_SIZE_TWO
                "cmp %[e], %[end]\n\t"
                "bne 0b"
                : [e] "+&r"(e), [size] "+&r"(s), [sum] "+&r"(all), [a] "=&r"(a),
                  [b] "=&r"(b)
                : [n] "r"(n), [end] "r"(e + (n & ~(uint32_t)1))
                : "memory", "cc");
    *size = s;
    *sum = all;
    dot_time_size_c(e, n & 1, size, sum);
}

#undef DOT_TIME_SIZE_TWO
#undef DOT_TIME_SIZE_ONE
#else
#define dot_time_size dot_time_size_c
#endif

#endif
