/* sgd_c.h - SGD of a row's weights in portable C99: the reference for the
 * kernels of sgd.h.  Each moves weights from hi, lo and g on, up to one that
 * comes near its limit or to the end of g, and forgets their gradient.  Returns
 * where in g it stopped.
 *
 * All steps are below 2^28, so that none leads from beyond one limit to before
 * SGD_FULL at the other, modulo 2^32.
 */
#ifndef VG_SGD_C_H
#define VG_SGD_C_H

#include "update.h"

/* A master near its limit: a little before VG_HI_FULL. */
#define SGD_FULL ((uint32_t)0x5F800000)

static inline int32_t sgd_scaled(const vg_scaling *s, int32_t x)
{
    return fx_high_rs((int32_t)((uint32_t)x << s->left), s->by);
}

/* The step that a gradient asks for. */
static inline int32_t sgd_step(const vg_sgd *s, int32_t g)
{
    if (s->clip.right)
        g = fx_rs32(fx_high(g, s->clip.by), s->clip.right);
    else if (s->clip.by)
        g = sgd_scaled(&s->clip, g);
    return sgd_scaled(&s->rate, g);
}

static inline int32_t *sgd_c(const vg_sgd *sgd, vg_sig *hi, int16_t *lo,
                             int32_t *g, const int32_t *end)
{
    const vg_sgd s = *sgd; /* no store below changes it */

    for (; g < end; g++, hi++, lo++) {
        const uint32_t sum =
            (uint32_t)vg_master_of(*hi, *lo) + (uint32_t)sgd_step(&s, *g);
        const uint32_t up = sum + 32768;
        if (up + SGD_FULL >= 2 * SGD_FULL)
            break;
        *hi = (vg_sig)fx_floor32((int32_t)up, 16);
        *lo = (int16_t)sum;
        *g = 0;
    }
    return g;
}

#endif
