/* dot.h - the kernels of this machine, by the compiler's own macros.  All give
 * the same bits; VG_PORTABLE and VG_FAST ask for the reference.  dot_c.h says
 * what each does.
 */
#ifndef VG_DOT_H
#define VG_DOT_H

#include "dot_c.h"
#include "options.h"

#if !VG_RUNS_FAST
#define DOT_MAP16 dot_c_map16
#define DOT_MAP8 dot_c_map8
#elif defined(__ARM_FEATURE_MVE) && !defined(VG_PORTABLE)
#include "dot_mve.h"
#define DOT_W16 dot_mve_w16
#define DOT_W8 dot_mve_w8
#define DOT_MAP16 dot_mve_map16
#define DOT_MAP8 dot_mve_map8
#elif VG_DSP
#include "dot_dsp_map.h"
#define DOT_ROW16 dot_dsp_row16
#define DOT_W16 dot_dsp_w16
#define DOT_W8 dot_dsp_w8
#define DOT_GATES16 dot_dsp_gates16
#define DOT_GATES8 dot_dsp_gates8
#elif VG_THUMB2
#include "dot_mul_map.h"
#define DOT_W16 dot_mul_w16
#define DOT_W8 dot_mul_w8
#define DOT_GATES16 dot_mul_gates16
#define DOT_GATES8 dot_mul_gates8
#elif defined(__AVX2__) && !defined(VG_PORTABLE)
#include "dot_avx2.h"
#define DOT_W16 dot_sse_w16
#define DOT_W8 dot_sse_w8
#define DOT_MAP16 dot_avx2_map16
#define DOT_MAP8 dot_avx2_map8
#elif defined(__SSE2__) && !defined(VG_PORTABLE)
#include "dot_sse.h"
#define DOT_W16 dot_sse_w16
#define DOT_W8 dot_sse_w8
#define DOT_MAP16 dot_sse_map16
#define DOT_MAP8 dot_sse_map8
#elif defined(__aarch64__) && !defined(VG_PORTABLE)
#include "dot_neon.h"
#define DOT_W16 dot_neon_w16
#define DOT_W8 dot_neon_w8
#define DOT_MAP16 dot_neon_map16
#define DOT_MAP8 dot_neon_map8
#elif VG_THUMB1
#include "dot_m0_rows.h"
#define DOT_ROW16 dot_m0_row16
#define DOT_MAP16 dot_m0_map16
#define DOT_MAP8 dot_m0_map8
#else
#define DOT_MAP16 dot_c_map16
#define DOT_MAP8 dot_c_map8
#endif

#ifndef DOT_W16
#define DOT_W16 dot_any_w16
#define DOT_W8 dot_any_w8

static VG_APART void dot_any_w16(const int16_t *w0, const int16_t *w1,
                                 const int16_t *z, uint32_t n, int64_t *sum)
{
    dot_c_w16(w0, w1, z, n, sum);
}

static VG_APART void dot_any_w8(const int8_t *w0, const int8_t *w1,
                                const int16_t *z, uint32_t n, int64_t *sum)
{
    dot_c_w8(w0, w1, z, n, sum);
}
#endif

#ifndef DOT_ROW16
#define DOT_ROW16 dot_c_row16
#endif
#define DOT_ROW8 dot_c_row8

#ifndef DOT_GATES16
#define DOT_GATES16 dot_each16
#define DOT_GATES8 dot_each8
static inline void dot_each16(dot_gates *g, int16_t *a)
{
    DOT_C_GATES(int16_t, 0, DOT_MAP16)
}

static inline void dot_each8(dot_gates *g, int16_t *a)
{
    DOT_C_GATES(int8_t, 1, DOT_MAP8)
}
#endif

#endif
