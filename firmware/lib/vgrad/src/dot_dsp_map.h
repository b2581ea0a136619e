/* dot_dsp_map.h - whole maps on cores with the DSP extension: those that the
 * kernels of dot_dsp_rows16.h and dot_dsp_rows8.h take, and the others.
 */
#ifndef VG_DOT_DSP_MAP_H
#define VG_DOT_DSP_MAP_H

#include "dot_dsp_rows16.h"
#include "dot_dsp_rows8.h"

/* Maps that a kernel does not take. */
static VG_APART void dot_dsp_each16(dot_gates *g, int16_t *a)
{
    DOT_C_GATES(int16_t, 0, dot_dsp_any16)
}

static VG_APART void dot_dsp_each8(dot_gates *g, int16_t *a)
{
    DOT_C_GATES(int8_t, 1, dot_dsp_any8)
}

/* arg_exps[] from exponents to shifts, or back.  Returns whether what is
 * rounded leaves 32 bits, for |b| <= 2 2^30 and |w z| < 2^30. */
static VG_APART int dot_dsp_shifts(dot_gates *g)
{
    int fit = 1;

    for (uint32_t k = 0; k < g->n; k++) {
        const int32_t shift = g->map.exps[k] - g->arg_exps[k];
        g->arg_exps[k] = (uint8_t)shift;
        if ((g->map.stride + 2) >> shift > 1)
            fit = 0;
    }
    return fit;
}

/* One row alone has no second one. */
static inline void dot_dsp_gates16(dot_gates *g, int16_t *a)
{
    if (dot_dsp_shifts(g) && g->map.rows > 1) {
        g->arg_exps[g->n] = 255;
        dot_dsp_rows16(g, a);
    } else {
        (void)dot_dsp_shifts(g);
        dot_dsp_each16(g, a);
    }
}

/* |w z| <= 2^22 and every shift is at least 1, as above. */
static inline void dot_dsp_gates8(dot_gates *g, int16_t *a)
{
    if (g->map.stride <= 512 && g->map.rows > 1) {
        g->arg_exps[g->n] = 255;
        dot_dsp_rows8(g, a);
    } else {
        dot_dsp_each8(g, a);
    }
}

#endif
