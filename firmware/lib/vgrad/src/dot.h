/* dot.h - the kernels of this machine, by the compiler's own macros.  All give
 * the same bits; VG_PORTABLE asks for the reference.  dot_c.h says what each
 * does.
 */
#ifndef VG_DOT_H
#define VG_DOT_H

#include "dot_c.h"

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && !defined(VG_PORTABLE)
#include "dot_dsp_map.h"
#define DOT_W16 dot_dsp_w16
#define DOT_W8 dot_dsp_w8
#define DOT_MAP16 dot_dsp_map16
#define DOT_MAP8 dot_dsp_map8
#elif defined(__thumb2__) && !defined(VG_PORTABLE)
#include "dot_mul_words8.h"
#define DOT_W16 dot_mul_w16
#define DOT_W8 dot_mul_w8
#define DOT_MAP16 dot_mul_map16
#define DOT_MAP8 dot_mul_map8
#define DOT_WORDS16 dot_mul_words16
#define DOT_WORDS8 dot_mul_words8
#define DOT_WORDS_MAP16 dot_mul_words_map16
#define DOT_WORDS_MAP8 dot_mul_words_map8
#else
#if defined(__thumb__) && !defined(__thumb2__) && __ARM_ARCH_PROFILE == 'M' && \
    !defined(VG_PORTABLE)
#include "dot_m0_words8.h"
#define DOT_WORDS16 dot_m0_words16
#define DOT_WORDS8 dot_m0_words8
#define DOT_WORDS_MAP16 dot_m0_words_map16
#define DOT_WORDS_MAP8 dot_m0_words_map8
#define DOT_PAIRS 1
#endif
#define DOT_W16 dot_c_w16
#define DOT_W8 dot_c_w8
#define DOT_MAP16 dot_c_map16
#define DOT_MAP8 dot_c_map8
#endif

#ifndef DOT_WORDS16
#define DOT_WORDS16 dot_c_words16
#define DOT_WORDS8 dot_c_words8
#define DOT_WORDS_MAP16 dot_c_words_map
#define DOT_WORDS_MAP8 dot_c_words_map
#endif
#ifndef DOT_PAIRS
#define DOT_PAIRS 0
#endif

#endif
