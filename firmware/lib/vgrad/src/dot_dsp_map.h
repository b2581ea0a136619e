/* dot_dsp_map.h - whole maps on cores with the DSP extension: those that the
 * kernels of dot_dsp_rows16.h and dot_dsp_rows8.h take, and the others.
 */
#ifndef VG_DOT_DSP_MAP_H
#define VG_DOT_DSP_MAP_H

#include "dot_dsp_rows16.h"
#include "dot_dsp_rows8.h"

/* Maps that a kernel does not take. */
static VG_APART VG_ONCE void dot_dsp_each16(dot_gates *g, int16_t *a)
{
    DOT_C_GATES(int16_t, 0, dot_dsp_any16)
}

static VG_APART void dot_dsp_each8(dot_gates *g, int16_t *a)
{
    DOT_C_GATES(int8_t, 1, dot_dsp_any8)
}

static inline void dot_dsp_gates16(dot_gates *g, int16_t *a)
{
    DOT_THUMB2_GATES16(dot_dsp_rows16, dot_dsp_each16, g, a);
}

static inline void dot_dsp_gates8(dot_gates *g, int16_t *a)
{
    DOT_THUMB2_GATES8(dot_dsp_paired8, dot_dsp_each8, g, a);
}

#endif
