/* sgd.c - SGD to the nearest in 32 bits: no step or gradient of this update is
 * too large for that, which the norm shows beforehand.
 */
#include "sgd.h"

/* For |x| <= most; 0 if it cannot be had. */
static int scale_by(vg_scaling *s, int32_t m, int n, uint64_t most)
{
    const int more = n < 32 ? 32 - n : 0; /* zeros behind x and m */
    const int room = 31 - vg_bits((uint64_t)(m < 0 ? -(int64_t)m : m));
    const int behind = more < room ? more : room;

    s->left = more - behind;
    s->right = n - 32 + more;
    s->by = m * ((int32_t)1 << behind);
    return n > 0 && n < 63 && s->left + vg_bits(most) <= 31;
}

VG_ONCE int vg_sgd_begin(vg_updating *u)
{
    vg_scaling *clip = &u->sgd.clip;

    u->sgd.most = u->clip.norm;
    clip->left = clip->by = clip->right = 0;
    if (u->t->learn.rule != VG_SGD || u->t->learn.seed)
        return 0;
    if (!u->clip.shift)
        return 1;
    if (!scale_by(clip, u->clip.m, u->clip.shift, u->sgd.most))
        return 0;
    u->sgd.most = (u->sgd.most * (uint32_t)u->clip.m >> u->clip.shift) + 1;
    return 1;
}

/* All steps are below 2^28. */
VG_ONCE int vg_sgd_of(vg_sgd *sgd, int32_t rate, int n)
{
    return n <= 32 && scale_by(&sgd->rate, -rate, n, sgd->most) &&
           sgd->most * (uint32_t)rate >> n < (1 << 28) - 1;
}

static VG_APART int32_t step_of(const vg_sgd *sgd, int32_t g)
{
    return sgd_step(sgd, g);
}

void vg_sgd_row(vg_updating *u, vg_sig *hi, int16_t *lo, int32_t *g, uint32_t n)
{
    const int32_t *const end = g + n;

    for (;;) {
        int32_t *const at = SGD_MOVE(&u->sgd, hi, lo, g, end);
        hi += at - g;
        lo += at - g;
        g = at;
        if (g == end)
            return;
        vg_move_weight(u, hi++, lo++, step_of(&u->sgd, *g));
        *g++ = 0;
    }
}

void vg_sgd_biases(vg_updating *u, int32_t *biases, int32_t *g, uint32_t n)
{
    for (const int32_t *end = g + n; g < end; biases++, g++) {
        const int32_t step = step_of(&u->sgd, *g);
        const uint32_t sum = (uint32_t)*biases + (uint32_t)step;
        /* below 2^28, it leads from no limit to the other */
        if (sum + (VG_BIAS_FULL - 1) < 2 * (uint32_t)VG_BIAS_FULL - 1)
            *biases = (int32_t)sum;
        else
            vg_move_bias(u, biases, step);
        *g = 0;
    }
}
