/* update.h - what the files of an update do for each other: norm.c, rules.c,
 * sgd.c, update.c.
 */
#ifndef VG_UPDATE_H
#define VG_UPDATE_H

#include "train.h"

/* A gate with a weight, or a bias, as large as this gets another exponent. */
enum { VG_HI_FULL = 24576, VG_BIAS_FULL = 3 << 29 };

/* Clipping (Pascanu 2013): g <- rs(g m, shift); shift 0 leaves g as it is. */
typedef struct {
    int32_t m;
    int shift;
    uint64_t norm; /* before it */
} vg_clipping;

/* rs(x m, n) as rs(2^left x * by, 32) or, for n > 32, as
 * rs(floor(x * by / 2^32), right). */
typedef struct {
    int32_t left, by, right;
} vg_scaling;

/* SGD to the nearest, where 32 bits hold every gradient and step. */
typedef struct {
    vg_scaling clip, rate; /* clip.by 0: none */
    uint64_t most;         /* of a gradient, clipped */
} vg_sgd;

/* An update in work, and what is the same for all weights of a part. */
typedef struct {
    vg_train *t;
    vg_clipping clip;
    vg_sgd sgd;
    int is_sgd; /* can it be had? */
    int32_t rate;
    int full; /* did a weight come near its limit? */
} vg_updating;

/* Digits of x; 0 for 0. */
static inline int vg_bits(uint64_t x)
{
#ifdef __GNUC__
    return x ? 64 - __builtin_clzll(x) : 0;
#else
    int n = 0;

    for (int step = 32; step; step /= 2) {
        const int more = (x >> step) ? step : 0;
        x >>= more;
        n += more;
    }
    return n + (int)x;
#endif
}

/* The columns of a span whose gradient may be other than 0, or, with moments,
 * whose weights may move all the same. */
static inline vg_columns vg_touched(const vg_train *t, const vg_gate *g,
                                    const vg_span *s)
{
    return VG_HAS_MOMENTS && g->v ? vg_all(g, s) : vg_listed(t, g, s);
}

/* ---- norm.c --------------------------------------------------------- */

/* The norm into t, and how it is clipped. */
vg_clipping vg_clip(vg_train *t);

/* ---- rules.c -------------------------------------------------------- */

/* The change of a master by the gradient g and, if the rule has one, its
 * moment; n: the digits that it rounds away, index: the weight's. */
int64_t vg_change(const vg_updating *u, int32_t g, int32_t *moment, int n,
                  uint32_t index);

/* ---- sgd.c ----------------------------------------------------------- */

/* How u clips, into u->sgd, and the steps of a rate that round n digits away;
 * 0 if it cannot be had. */
int vg_sgd_begin(vg_updating *u);
int vg_sgd_of(vg_sgd *sgd, int32_t rate, int n);

/* Move n weights from hi and lo on by the gradient from g on, and forget it;
 * and n biases. */
void vg_sgd_row(vg_updating *u, vg_sig *hi, int16_t *lo, int32_t *g,
                uint32_t n);
void vg_sgd_biases(vg_updating *u, int32_t *biases, int32_t *g, uint32_t n);

/* ---- update.c ------------------------------------------------------- */

void vg_move_weight(vg_updating *u, vg_sig *hi, int16_t *lo, int64_t change);
void vg_move_bias(vg_updating *u, int32_t *bias, int64_t change);

#endif
