/* dot.h - the kernel of this machine, by the compiler's own macros.  All give
 * the same sums; VG_PORTABLE asks for the reference.
 */
#ifndef VG_DOT_H
#define VG_DOT_H

#include "dot_c.h"

#define DOT_WORDS16 dot_c_words16
#define DOT_WORDS8 dot_c_words8

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && !defined(VG_PORTABLE)
#include "dot_dsp.h"
#define DOT_W16 dot_dsp_w16
#define DOT_W8 dot_dsp_w8
#elif defined(__thumb2__) && !defined(VG_PORTABLE)
#include "dot_mul.h"
#define DOT_W16 dot_mul_w16
#define DOT_W8 dot_mul_w8
#else
#define DOT_W16 dot_c_w16
#define DOT_W8 dot_c_w8
#endif

#endif
