/* fx.h - every rounding and clamp of the core.  docs/numbers.md has the names.
 *
 * A floor shift of a negative number is written as ~(~x >> n), which C99
 * defines; gcc and clang make one arithmetic shift of it.
 */
#ifndef VG_FX_H
#define VG_FX_H

#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "vgrad reads its blobs in place: the machine must be little-endian"
#endif

/* A frame of its own, so that a step takes the stack of the way it goes. */
#ifdef __GNUC__
#define VG_APART __attribute__((noinline))
#else
#define VG_APART
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

/* rs: floor((x + 2^(n-1)) / 2^n), n in 1..62, |x| < 2^62. */
static inline int64_t fx_rs(int64_t x, int n)
{
    return fx_floor(x + ((int64_t)1 << (n - 1)), n);
}

/* The same for n in 1..31, by halves: a shift by 32 or more needs a branch. */
static inline int64_t fx_rs31(int64_t x, int n)
{
    const uint64_t y = (uint64_t)x + ((uint32_t)1 << (n - 1));
    const int32_t high = (int32_t)(uint32_t)(y >> 32);
    const uint32_t low = (uint32_t)y >> n | ((uint32_t)(y >> 32) << 1)
                                                << (31 - n);
    return (int64_t)((uint64_t)(uint32_t)fx_floor32(high, n) << 32 | low);
}

/* rs for n >= 0: rs(x, 0) = x, and 0 for n > 62. */
static inline int64_t fx_round(int64_t x, int n)
{
    return n > 62 ? 0 : n > 0 ? fx_rs(x, n) : x;
}

/* sat31(x): an error, a gradient or a step, on q24. */
static inline int32_t fx_sat31(int64_t x)
{
    return x > INT32_MAX ? INT32_MAX : x < -INT32_MAX ? -INT32_MAX : (int32_t)x;
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

/* rs(a b, 24) for an error or derivative on q24. */
static inline int64_t fx_mul24(int32_t a, int32_t b)
{
    return fx_rs((int64_t)a * b, 24);
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

static inline int16_t fx_sat16(int64_t x, fx_clamps *k)
{
    return (int16_t)fx_clamp(x, INT16_MIN, INT16_MAX, k);
}

/* A carried state: q20 within +-1024. */
static inline int32_t fx_sat30(int64_t x, fx_clamps *k)
{
    return fx_clamp(x, -((int32_t)1 << 30), (int32_t)1 << 30, k);
}

#endif
