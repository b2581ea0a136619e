/* dot_time.h - the kernels along the tape of this machine, by the compiler's
 * own macros.  All give the same sums; VG_PORTABLE asks for the reference.
 *
 * DOT_TIME takes any errors.  DOT_TIME_PIECE, if there is one, is faster for a
 * piece that fits, of an even number of steps and with sources that lie at a
 * word; DOT_TIME_CUT makes the errors ready for it.  Where not
 * DOT_TIME_MANY, only a tape of one piece is given to it, with exponents of 12
 * or more.  DOT_TIME_ROW, if there is one, takes all columns of such a row of
 * 16 steps at once, its errors as they are.
 */
#ifndef VG_DOT_TIME_H
#define VG_DOT_TIME_H

#include "dot_time_c.h"

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && !defined(VG_PORTABLE)
#include "dot_time_dsp.h"
#include "dot_time_mul.h"
#define DOT_TIME dot_time_mul
#define DOT_TIME_PIECE dot_time_dsp
#define DOT_TIME_CUT dot_time_dsp_cut
#define DOT_TIME_MANY 0
#elif defined(__thumb2__) && !defined(VG_PORTABLE)
#include "dot_time_mul.h"
#define DOT_TIME dot_time_mul
#elif defined(__ARM_ARCH_6M__) && !defined(VG_PORTABLE)
#include "dot_time_m0.h"
#define DOT_TIME dot_time_c
#define DOT_TIME_PIECE dot_time_m0
#define DOT_TIME_CUT(e, n) ((void)0)
#define DOT_TIME_MANY 1
#elif defined(__ARM_ARCH_6M__)
#include "dot_time_piece_c.h"
#define DOT_TIME dot_time_c
#define DOT_TIME_PIECE dot_time_piece_c
#define DOT_TIME_CUT(e, n) ((void)0)
#define DOT_TIME_MANY 1
#elif defined(__AVX2__) && !defined(VG_PORTABLE)
#include "dot_time_avx2.h"
#define DOT_TIME dot_time_c
#define DOT_TIME_ROW dot_time_avx2
#else
#define DOT_TIME dot_time_c
#endif

#endif
