/* dot_words.h - the kernels of this machine for maps in words, as dot.h has
 * those for rows.  Cores with the DSP extension want rows, and have none.
 */
#ifndef VG_DOT_WORDS_H
#define VG_DOT_WORDS_H

#include "dot_c.h"
#include "options.h"

#if !VG_RUNS_FAST
#define DOT_WORDS16 dot_c_words16
#define DOT_WORDS8 dot_c_words8
#define DOT_WORDS_MAP16 dot_c_words_map
#define DOT_WORDS_MAP8 dot_c_words_map
#define DOT_PAIRS 0
#elif VG_THUMB2 && !VG_DSP
#include "dot_mul_words8.h"
#define DOT_WORDS16 dot_mul_words16
#define DOT_WORDS8 dot_mul_words8
#define DOT_WORDS_MAP16 dot_mul_words_map16
#define DOT_WORDS_MAP8 dot_mul_words_map8
#define DOT_PAIRS 0
#elif VG_THUMB1
#include "dot_m0_words8.h"
#define DOT_WORDS16 dot_m0_words16
#define DOT_WORDS8 dot_m0_words8
#define DOT_WORDS_MAP16 dot_m0_words_map16
#define DOT_WORDS_MAP8 dot_m0_words_map8
#define DOT_PAIRS 1 /* 2^15 times the sum of two columns behind them */
#else
#define DOT_WORDS16 dot_c_words16
#define DOT_WORDS8 dot_c_words8
#define DOT_WORDS_MAP16 dot_c_words_map
#define DOT_WORDS_MAP8 dot_c_words_map
#define DOT_PAIRS 0
#endif

#endif
