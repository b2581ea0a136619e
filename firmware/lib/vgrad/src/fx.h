/* fx.h - every rounding and clamp of the core.  docs/numbers.md has the names.
 *
 * A floor shift of a negative number is written as ~(~x >> n), which C99
 * defines; gcc and clang make one arithmetic shift of it.
 */
#ifndef VG_FX_H
#define VG_FX_H

#include <stdint.h>

#include "target.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "vgrad reads its blobs in place: the machine must be little-endian"
#endif

/* Not in a step: rather small than fast. */
#ifdef __GNUC__
#define VG_ONCE __attribute__((cold))
#else
#define VG_ONCE
#endif

/* How often a value was clamped, from below and from above. */
typedef struct {
    uint32_t low;
    uint32_t high;
} fx_clamps;

/* floor(x / 2^n), n in 0..62. */
static inline int64_t fx_floor(int64_t x, int n)
{
    return x >= 0 ? x >> n : ~(~x >> n);
}

static inline int32_t fx_floor32(int32_t x, int n)
{
    return x >= 0 ? x >> n : ~(~x >> n);
}

/* a b, by products of 16 bits where there is no long multiplication; the sums
 * in the middle stay within 2^31. */
static inline int64_t fx_product(int32_t a, int32_t b)
{
#if VG_SHORT
    const int32_t a1 = fx_floor32(a, 16), a0 = a & 0xFFFF;
    const int32_t b1 = fx_floor32(b, 16), b0 = b & 0xFFFF;
    const uint32_t low = (uint32_t)a0 * (uint32_t)b0;
    const int32_t one = a1 * b0 + (int32_t)(low >> 16);
    const int32_t two = a0 * b1 + (one & 0xFFFF);
    const int32_t high = a1 * b1 + fx_floor32(one, 16) + fx_floor32(two, 16);
    return (int64_t)((uint64_t)(uint32_t)high << 32 | (uint32_t)two << 16 |
                     (low & 0xFFFF));
#else
    return (int64_t)a * b;
#endif
}

/* floor(a b / 2^32) */
static inline int32_t fx_high(int32_t a, int32_t b)
{
    return (int32_t)(uint32_t)((uint64_t)fx_product(a, b) >> 32);
}

/* rs(a b, 32), |a| and |b| < 2^31. */
static inline int32_t fx_high_rs(int32_t a, int32_t b)
{
#if VG_DSP
    __asm__("smmulr %0, %0, %1" : "+r"(a) : "r"(b));
    return a;
#else
    const uint64_t product = (uint64_t)fx_product(a, b);
    return (int32_t)(uint32_t)((product + 0x80000000u) >> 32);
#endif
}

/* rs: floor((x + 2^(n-1)) / 2^n), n in 1..62, |x| < 2^62. */
static inline int64_t fx_rs(int64_t x, int n)
{
    return fx_floor(x + ((int64_t)1 << (n - 1)), n);
}

/* The same for |x| <= 2^30, n in 1..30. */
static inline int32_t fx_rs32(int32_t x, int n)
{
    return fx_floor32(x + ((int32_t)1 << (n - 1)), n);
}

/* rs for n in 1..31; in 32 bits by halves: a shift by 32 or more needs a
 * branch.
 */
static inline int64_t fx_rs31(int64_t x, int n)
{
#if UINTPTR_MAX > UINT32_MAX
    return fx_rs(x, n);
#else
    const uint64_t y = (uint64_t)x + ((uint32_t)1 << (n - 1));
    const int32_t high = (int32_t)(uint32_t)(y >> 32);
    const uint32_t low = (uint32_t)y >> n | ((uint32_t)(y >> 32) << 1)
                                                << (31 - n);
    return (int64_t)((uint64_t)(uint32_t)fx_floor32(high, n) << 32 | low);
#endif
}

/* rs(a b, n), n in 1..31, that is known to fit. */
static inline int32_t fx_times(int32_t a, int32_t b, int n)
{
    return (int32_t)fx_rs31(fx_product(a, b), n);
}

/* rs(x, n), n + m = 32, that is known to fit.  Thumb-2: LSRS leaves the bit
 * that rounds in the carry. */
#if VG_THUMB2
#define FX_RS(x, n, m)                                                         \
    uint32_t y = (uint32_t)(uint64_t)(x);                                      \
    __asm__("lsrs %0, %0, #" #n "\n\tadc %0, %0, %1, lsl #" #m                 \
            : "+&r"(y)                                                         \
            : "r"((uint32_t)((uint64_t)(x) >> 32))                             \
            : "cc");                                                           \
    return (int32_t)y
#else
#define FX_RS(x, n, m) return (int32_t)fx_rs31(x, n)
#endif

static inline int32_t fx_rs14(int64_t x)
{
    FX_RS(x, 14, 18);
}

static inline int32_t fx_rs24(int64_t x)
{
    FX_RS(x, 24, 8);
}

#undef FX_RS

/* rs(a b, 24), -2^24 < b <= 2^24: an error by a derivative.  A core without a
 * product of 64 bits takes a by 16 and b by 12 bits apart. */
static inline int32_t fx_times24(int32_t a, int32_t b)
{
#if VG_SHORT
    const uint32_t a1 = (uint32_t)fx_floor32(a, 16), a0 = (uint32_t)a & 0xFFFF;
    const uint32_t b1 = (uint32_t)fx_floor32(b, 12), b0 = (uint32_t)b & 0xFFF;
    const int32_t low = (int32_t)(a0 * b1 + (a0 * b0 >> 12));
    const int32_t middle =
        (int32_t)(a1 * b0 + (uint32_t)fx_floor32(low, 4) + (1u << 7));
    return (int32_t)(a1 * b1 * 16 + (uint32_t)fx_floor32(middle, 8));
#else
    return fx_rs24(fx_product(a, b));
#endif
}

/* rs(a b, 14), 0 <= b <= 2^14: an error by a gate. */
static inline int32_t fx_times14(int32_t a, int32_t b)
{
#if VG_SHORT
    const uint32_t high = (uint32_t)fx_floor32(a, 16) * (uint32_t)b;
    const uint32_t low = ((uint32_t)a & 0xFFFF) * (uint32_t)b + (1u << 13);
    return (int32_t)(high * 4 + (uint32_t)fx_floor32((int32_t)low, 14));
#else
    return fx_rs14(fx_product(a, b));
#endif
}

/* rs(a b, 18), |a| <= 2^28, |b| <= 2^14: a derivative from q28 to q24. */
static inline int32_t fx_times18(int32_t a, int32_t b)
{
#if VG_SHORT
    const uint32_t high = (uint32_t)fx_floor32(a, 16) * (uint32_t)b;
    const uint32_t low = ((uint32_t)a & 0xFFFF) * (uint32_t)b + (1u << 17);
    return fx_floor32((int32_t)(high + (uint32_t)fx_floor32((int32_t)low, 16)),
                      2);
#elif VG_DSP
    int32_t y;
    __asm__("smmulr %0, %1, %2" : "=r"(y) : "r"(a), "r"(b * (1 << 14)));
    return y;
#else
    const uint64_t x = (uint64_t)((int64_t)a * (b * (1 << 14)));
    return (int32_t)((uint32_t)(x >> 32) + ((uint32_t)x >> 31));
#endif
}

/* a - b, of states: any number where a damaged one does not fit. */
static inline int32_t fx_minus(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a - (uint32_t)b);
}

/* rs for n >= 0: rs(x, 0) = x, and 0 for n > 62. */
static inline int64_t fx_round(int64_t x, int n)
{
    return n > 62 ? 0 : n > 0 ? fx_rs(x, n) : x;
}

/* sat31(x): an error, a gradient or a step, on q24. */
static inline int32_t fx_sat31(int64_t x)
{
    int32_t y = (int32_t)(uint32_t)(uint64_t)x;

    if (x != y)
        y = -(x < 0) ^ INT32_MAX;
    return y == INT32_MIN ? -INT32_MAX : y;
}

/* sat31(a + b) */
static inline int32_t fx_plus31(int32_t a, int32_t b)
{
#ifdef __GNUC__
    int32_t y;
    if (__builtin_add_overflow(a, b, &y) || y == INT32_MIN)
        y = fx_sat31((int64_t)a + b);
    return y;
#else
    return fx_sat31((int64_t)a + b);
#endif
}

/* sat31(rs(x, n)) for any n. */
static inline int32_t fx_to31(int64_t x, int n)
{
    if (n >= 0)
        return fx_sat31(fx_round(x, n));
    if (n < -30 || x > (INT32_MAX >> -n) || x < -(INT32_MAX >> -n))
        return x > 0 ? INT32_MAX : x < 0 ? -INT32_MAX : 0;
    return (int32_t)x * ((int32_t)1 << -n);
}

/* sat31(rs(a b, n)), n in 1..31 */
static inline int32_t fx_times31(int32_t a, int32_t b, int n)
{
    return fx_sat31(fx_rs31(fx_product(a, b), n));
}

/* The same for n = 24.  What is far from the limits shows in the high word. */
static inline int32_t fx_times24_31(int32_t a, int32_t b)
{
    const int64_t x = fx_product(a, b);
    const uint32_t high = (uint32_t)((uint64_t)x >> 32), near = 1u << 22;
    int32_t y = fx_rs24(x);

    if (high + near >= 2 * near)
        y = fx_sat31(fx_rs31(x, 24));
    return y;
}

/* rs(a b, 24) for an error or derivative on q24. */
static inline int64_t fx_mul24(int32_t a, int32_t b)
{
    return fx_rs31(fx_product(a, b), 24);
}

static inline int32_t fx_clamp(int64_t x, int32_t lo, int32_t hi, fx_clamps *k)
{
    if (x < lo) {
        k->low++;
        return lo;
    }
    if (x > hi) {
        k->high++;
        return hi;
    }
    return (int32_t)x;
}

/* sat16(x), where the caller counts. */
static inline int16_t fx_narrow(int64_t x)
{
    if ((uint64_t)x + 32768u < 65536u)
        return (int16_t)x;
    return x < 0 ? INT16_MIN : INT16_MAX;
}

/* The same of 32 bits. */
static inline int32_t fx_narrow32(int32_t x)
{
#if VG_THUMB2
    __asm__("ssat %0, #16, %1" : "=r"(x) : "r"(x));
    return x;
#else
    return x > INT16_MAX ? INT16_MAX : x < INT16_MIN ? INT16_MIN : x;
#endif
}

static inline int16_t fx_sat16(int64_t x, fx_clamps *k)
{
    return (int16_t)fx_clamp(x, INT16_MIN, INT16_MAX, k);
}

/* A carried state: q20 within +-1024. */
static inline int32_t fx_sat30(int64_t x, fx_clamps *k)
{
    return fx_clamp(x, -((int32_t)1 << 30), (int32_t)1 << 30, k);
}

/* rs(f c + i g, 14) for 0 <= f <= 2^14, |c| <= 2^30, |g| <= 2^14, i a multiple
 * of 64 with |i| <= 2^21: within 2^30 + 2^21.  A core without a product of 64
 * bits takes c = 2^14 h + l apart, and i g by 256. */
static inline int32_t fx_mix(int32_t f, int32_t c, int32_t i, int32_t g)
{
#if VG_SHORT
    const int32_t h = fx_floor32(c, 14), l = c & 16383;
    const int32_t p = fx_floor32(i, 6) * g;
    return f * h + fx_floor32(p, 8) +
           fx_floor32(f * l + (p & 255) * 64 + 8192, 14);
#else
    const uint64_t x = (uint64_t)((int64_t)f * c + (int64_t)i * g) + 8192u;
    return (int32_t)((uint32_t)x >> 14 | (uint32_t)(x >> 32) << 18);
#endif
}

/* A carried state: q20 within +-2^30. */
static inline int32_t fx_state(int32_t x, uint32_t *clamped)
{
    if ((uint32_t)x + 0x40000000u <= 0x80000000u)
        return x;
    ++*clamped;
    return x < 0 ? -((int32_t)1 << 30) : (int32_t)1 << 30;
}

#endif
