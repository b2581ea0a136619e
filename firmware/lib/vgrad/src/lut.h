/* lut.h - sigmoid, tanh and exp from tables, correctly rounded everywhere.
 *
 * The specification is the rounded function itself, so other executors may
 * compute it in their own way and still get the same bits.  The cubics were
 * searched for (tools/gen_lut.py) and every argument was checked.
 *
 * With VG_SMALL_TABLES the rows for z < 0 are left out and the symmetry takes
 * their place, and of the rows from which on all are 1 only the first is there:
 * 1,620 bytes for sigmoid and tanh instead of 4,632, same bits.
 */
#ifndef VG_LUT_H
#define VG_LUT_H

#include <stdint.h>

#include "fx.h"

/* Rows hold the cubics around multiples of 2^bits.  c0 is q30, the rounding
 * half included; every further coefficient has its scale below. */
struct lut_seg {
    int32_t c0, c1;
    int32_t c23; /* 2^16 c2 + c3, c3 an int16 */
};

enum {
    LUT_ONE = 1 << 14,    /* 1.0 in q14 */
    LUT_SIGMOID_BITS = 9, /* a row covers 2^bits arguments */
    LUT_TANH_BITS = 8,
#ifdef VG_SMALL_TABLES
    LUT_SIGMOID_SEGS = 44,
    LUT_TANH_SEGS = 91,
#else
    LUT_SIGMOID_SEGS = 129,
    LUT_TANH_SEGS = 257,
#endif
    LUT_EXP_SEGS = 192
};

extern const struct lut_seg vg_lut_sigmoid[LUT_SIGMOID_SEGS];
extern const struct lut_seg vg_lut_tanh[LUT_TANH_SEGS];
extern const uint32_t vg_lut_exp[LUT_EXP_SEGS]; /* exp(-i / 16), q31 */

/* The row around z = 0. */
#ifdef VG_SMALL_TABLES
#define LUT_SIGMOID vg_lut_sigmoid
#define LUT_TANH vg_lut_tanh
#else
#define LUT_SIGMOID (vg_lut_sigmoid + LUT_SIGMOID_SEGS / 2)
#define LUT_TANH (vg_lut_tanh + LUT_TANH_SEGS / 2)
#endif

/* The lowest bits of x as a number with a sign. */
static inline int32_t lut_low(int32_t x, int bits)
{
    return fx_floor32((int32_t)((uint32_t)x << (32 - bits)), 32 - bits);
}

/* With d = z - centre of the row, -2^(bits-1) <= d < 2^(bits-1), and floors:
 *
 *     u = (2^16 c2 + c3 + c3 d) / 2^16
 *     t = c1 + u d / 2^(bits-2)
 *     y = (c0 + t d) / 2^16                                            q14
 *
 * Nothing leaves int32: |c2| < 2^11 gives |u| < 2^12 and |u d| < 2^20; |c1| <=
 * 2^(26-bits) gives |t d| < 2^25.1, and |c0| <= 2^30 + 2^15.
 * gen_lut.py --check looks at every value. */
static inline int32_t lut_cubic(const struct lut_seg *zero, int32_t z, int bits)
{
    const int32_t d = lut_low(z, bits);
    const struct lut_seg *s = zero + fx_floor32(z - d, bits);
    const int32_t c3 = lut_low(s->c23, 16);
    const int32_t u = fx_floor32(s->c23 + c3 * d, 16);
    const int32_t t = s->c1 + fx_floor32(u * d, bits - 2);

    return fx_floor32(s->c0 + t * d, 16);
}

#if VG_THUMB2
#include "lut_thumb2.h"
#define LUT_CUBIC_SIGMOID lut_thumb2_sigmoid
#define LUT_CUBIC_TANH lut_thumb2_tanh
#else
#define LUT_CUBIC_SIGMOID(zero, z) lut_cubic(zero, z, LUT_SIGMOID_BITS)
#define LUT_CUBIC_TANH(zero, z) lut_cubic(zero, z, LUT_TANH_BITS)
#endif

#ifdef VG_SMALL_TABLES
/* Where |z| ends for a table without rows beyond, of so many. */
static inline int32_t lut_ended(int32_t z, int segs, int bits)
{
    const int32_t size = z < 0 ? -z : z, end = (segs - 1) * (1 << bits);

    return size < end ? size : end;
}
#endif

/* The two for loops, which keep the table's place in a register. */
static inline int32_t lut_sigmoid_at(const struct lut_seg *zero, int32_t z)
{
#ifdef VG_SMALL_TABLES
    const int32_t y = LUT_CUBIC_SIGMOID(
        zero, lut_ended(z, LUT_SIGMOID_SEGS, LUT_SIGMOID_BITS));
    return z < 0 ? LUT_ONE - y : y;
#else
    return LUT_CUBIC_SIGMOID(zero, z);
#endif
}

static inline int32_t lut_tanh_at(const struct lut_seg *zero, int32_t z)
{
#ifdef VG_SMALL_TABLES
    const int32_t y =
        LUT_CUBIC_TANH(zero, lut_ended(z, LUT_TANH_SEGS, LUT_TANH_BITS));
    return z < 0 ? -y : y;
#else
    return LUT_CUBIC_TANH(zero, z);
#endif
}

/* floor(2^14 / (1 + exp(-z / 2^11)) + 1/2), q14, for z in [-32768, 32767]. */
static inline int32_t lut_sigmoid(int32_t z_q11)
{
    return lut_sigmoid_at(LUT_SIGMOID, z_q11);
}

/* floor(2^14 tanh(z / 2^12) + 1/2), q14, for z in [-32768, 32767]. */
static inline int32_t lut_tanh(int32_t z_q12)
{
    return lut_tanh_at(LUT_TANH, z_q12);
}

/* floor(2^16 exp(-d / 2^e) + 1/2), q16, for d in [0, 65535], e in [0, 14].
 *
 * With u = d 2^(14-e) = 1024 i + g:  exp(-i / 16) from the table, times
 * 1 - f + f^2/2 - f^3/6 + f^4/24 - f^5/120 for f = g / 2^14 < 1/16, by Horner's
 * rule in q31: each bracket is positive and at most 1, the remainder f^6/720 is
 * below 2^-33, and the product stays below 2^63.  The result is 0 from
 * d / 2^e = 17 ln 2 = 11.78 on, so the table ends at 12. */
static inline uint32_t lut_exp(uint32_t d, int e)
{
    static const uint32_t inverse_factorial_q31[] = {
        17895697u, 89478485u, 357913941u, 1073741824u, 2147483648u, 2147483648u,
    };
    uint32_t u = d << (14 - e);
    uint32_t i = u >> 10, g = u & 1023u, p = inverse_factorial_q31[0];
    int k;

    if (i >= LUT_EXP_SEGS)
        return 0;
    /* floor(p g / 2^14) in 32 bits, for cores without long products */
    for (k = 1; k < 6; k++)
        p = inverse_factorial_q31[k] -
            (((p >> 16) * g << 2) + ((p & 0xFFFF) * g >> 14));
    return (uint32_t)(((uint64_t)vg_lut_exp[i] * p + (1ull << 45)) >> 46);
}

#endif
