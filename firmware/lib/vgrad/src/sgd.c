/* sgd.c - SGD to the nearest in 32 bits: no step or gradient of this update is
 * too large for that, which the norm shows beforehand.
 */
#include "update.h"
#if defined(__AVX2__) && !defined(VG_PORTABLE)
#include "sgd_avx2.h"
#endif

/* For |x| <= most; 0 if it cannot be had. */
static int scale_by(vg_scaling *s, int32_t m, int n, uint64_t most)
{
    const int more = n < 33 ? 33 - n : 0; /* zeros behind x and m */
    const int room = 31 - vg_bits((uint64_t)(m < 0 ? -(int64_t)m : m));
    const int behind = more < room ? more : room;

    s->left = more - behind;
    if (n > 63 || s->left + vg_bits(most) > 31)
        return 0;
    s->by = m * ((int32_t)1 << behind);
    s->half = (int32_t)1 << (n + more - 33);
    s->right = n + more - 32;
    return 1;
}

static inline int32_t scaled(const vg_scaling *s, int32_t x)
{
    x = (int32_t)((uint32_t)x << s->left);
    return fx_floor32(fx_high(x, s->by) + s->half, s->right);
}

/* All steps are below 2^28. */
int vg_sgd_of(const vg_updating *u, int n, vg_sgd *p)
{
    const int32_t m = u->clip.shift ? u->clip.m : 1 << 30;
    const int shift = u->clip.shift ? u->clip.shift : 30;
    uint64_t most = u->clip.norm;

    if (u->t->learn.rule != VG_SGD || u->t->learn.seed || n < 1 ||
        !scale_by(&p->clip, m, shift, most))
        return 0;
    most = (most * (uint32_t)m >> shift) + 1;
    return scale_by(&p->rate, -u->rate, n, most) &&
           most * (uint32_t)u->rate >> n < (1 << 28) - 1;
}

int32_t vg_sgd_step(const vg_sgd *sgd, int32_t g)
{
    return scaled(&sgd->rate, scaled(&sgd->clip, g));
}

/* A row's weights from hi, lo and g on.  A step below 2^28 cannot lead from
 * beyond one limit to before VG_HI_FULL at the other, modulo 2^32. */
void vg_sgd_row(vg_updating *u, const vg_sgd *sgd, vg_sig *hi, int16_t *lo,
                int32_t *g, uint32_t n)
{
    const vg_scaling clip = sgd->clip, rate = sgd->rate;
    const int32_t *const end = g + n;

#if defined(__AVX2__) && !defined(VG_PORTABLE)
    for (; end - g >= 8 && sgd_avx2(sgd, hi, lo, g); g += 8, hi += 8)
        lo += 8;
#endif
    for (; g < end; g++, hi++, lo++) {
        const int32_t step = scaled(&rate, scaled(&clip, *g));
        const uint32_t sum = (uint32_t)vg_master_of(*hi, *lo) + (uint32_t)step;
        const int32_t new_hi = fx_floor32((int32_t)(sum + 32768), 16);
        *g = 0;
        if (new_hi >= VG_HI_FULL || new_hi <= -VG_HI_FULL) {
            vg_move_weight(u, hi, lo, step);
            continue;
        }
        *hi = (vg_sig)new_hi;
        *lo = (int16_t)((int32_t)sum - new_hi * 65536);
    }
}
