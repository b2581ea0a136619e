/* rules.c - from a gradient to the change of a weight, by each of the rules. */
#include <string.h>

#include "update.h"

/* ---- RMSprop -------------------------------------------------------- */

/* 2^30 / sqrt(w / 2^32) for w >= 2^30: a table, and two steps of Newton. */
static uint32_t inverse_root(uint32_t w)
{
    /* floor(2^15 sqrt(64 / (2 k + 1)) + 1/2), k = 8..31 */
    static const uint16_t first[24] = {
        63579, 60140, 57205, 54661, 52429, 50450, 48679, 47082,
        45633, 44310, 43096, 41977, 40940, 39977, 39078, 38238,
        37449, 36708, 36008, 35347, 34722, 34128, 33564, 33027};
    uint64_t y = (uint64_t)first[(w >> 27) - 8] << 15;

    for (int k = 0; k < 2; k++)
        y = y * (((uint64_t)3 << 30) - (w * (y * y >> 30) >> 32)) >> 31;
    return (uint32_t)y;
}

/* floor(x w / 2^14), x < 2^63, w <= 2^14. */
static uint64_t share(uint64_t x, uint32_t w)
{
    return (x >> 14) * w + ((x & 16383) * w >> 14);
}

/* v = g / sqrt(mean of squares); the mean lies in *code. */
static int32_t normalized(const vg_learn *learn, int32_t *code, int32_t g)
{
    const uint32_t old = (uint32_t)*code, decay = (uint32_t)learn->decay_q14;
    const uint32_t old_x = old >> 26 < 38 ? old >> 26 : 37; /* r < 2^63 */
    const uint64_t square = (uint64_t)((int64_t)g * g);
    const uint64_t r = share((uint64_t)(old & 0x3FFFFFF) << old_x, decay) +
                       share(square, VG_ONE - decay);
    const uint64_t q =
        r + (uint64_t)((int64_t)learn->epsilon_q24 * learn->epsilon_q24);
    const int r_bits = vg_bits(r), x = r_bits > 26 ? r_bits - 26 : 0;
    const int j = (64 - vg_bits(q)) & ~1;
    const uint32_t new = (uint32_t)x << 26 | (uint32_t)(r >> x);

    memcpy(code, &new, sizeof new);
    return vg_to31((int64_t)g * inverse_root((uint32_t)(q << j >> 32)),
                   38 - j / 2);
}

/* ---- all rules ------------------------------------------------------ */

static int32_t clipped(const vg_clipping *clip, int32_t g)
{
    return clip->shift ? vg_to31((int64_t)g * clip->m, clip->shift) : g;
}

static uint32_t mix(uint32_t u)
{
    u ^= u >> 16;
    u *= 0x7FEB352Du;
    u ^= u >> 15;
    u *= 0x846CA68Bu;
    return u ^ u >> 16;
}

/* -rate v in units of 2^-(48-n), rounded as the settings say. */
static int32_t step_of(const vg_updating *u, int32_t v, int n, uint32_t index)
{
    const int64_t exact = -(int64_t)u->rate * v;
    uint32_t hash;
    int64_t noise;

    if (!u->t->learn.seed || n <= 0)
        return vg_to31(exact, n);
    hash = mix(u->t->learn.seed + 0x9E3779B9u * u->t->updates);
    hash = mix(hash + 0x85EBCA6Bu * index);
    noise = n > 32 ? (int64_t)hash << (n - 32) : (int64_t)(hash >> (32 - n));
    return fx_sat31(fx_floor(exact + noise, n));
}

/* rz(decay v, 14): toward zero, so that a decay gets there. */
static int32_t decayed(const vg_learn *learn, int32_t v)
{
    const int64_t x = (int64_t)v * learn->decay_q14;

    return (int32_t)(x < 0 ? -(-x >> 14) : x >> 14);
}

int64_t vg_change(const vg_updating *u, int32_t g, int32_t *moment, int n,
                  uint32_t index)
{
    const vg_learn *learn = &u->t->learn;
    int32_t v = clipped(&u->clip, g), s;

    if (VG_HAS_RULE(VG_RMSPROP) && learn->rule == VG_RMSPROP)
        v = normalized(learn, moment, v);
    s = step_of(u, v, n, index);
    if (!VG_HAS_RULE(VG_MOMENTUM) || learn->rule != VG_MOMENTUM)
        return s;
    *moment = fx_sat31((int64_t)decayed(learn, *moment) + s);
    return learn->flags & VG_NESTEROV ? (int64_t)decayed(learn, *moment) + s
                                      : *moment;
}
