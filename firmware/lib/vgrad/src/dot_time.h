/* dot_time.h - the kernels along the tape of this machine, by the compiler's
 * own macros.  All give the same sums; VG_PORTABLE and VG_FAST=0 ask for
 * the reference.
 *
 * DOT_TIME takes any errors.  DOT_TIME_PIECE, if there is one, is faster for a
 * piece that fits.  DOT_TIME_ROW, if there is one, takes all columns of a row
 * that is one piece of DOT_TIME_ROW_LEAST steps or more, two columns or more,
 * with exponents of DOT_HALF or more if it cuts errors, DOT_TIME_ROW_CUTS: then
 * the piece must fit, too.  What takes a piece that fits wants an even number
 * of steps, and sources that lie at a word.  DOT_TIME_PAIRS, if there is one,
 * does what DOT_TIME_ROW does, with steps by four and sources by pairs;
 * there is none where code is to be small.
 *
 * DOT_TIME_MEASURE, if there is one, adds up a full piece's errors, modulo
 * 2^32, and floor(|e| / 16), where ~e stands for a negative e.
 */
#ifndef VG_DOT_TIME_H
#define VG_DOT_TIME_H

#include <string.h>

#include "dot_time_c.h"
#include "options.h"

#if !VG_LEARNS_FAST
#define DOT_TIME dot_time_c
#elif VG_DSP
#include "dot_time_mul.h"
#include "dot_time_row_dsp.h"
#define DOT_TIME dot_time_mul
#define DOT_TIME_ROW dot_time_row_dsp
#define DOT_TIME_ROW_CUTS 1
#elif VG_THUMB2
#include "dot_time_mul.h"
#include "dot_time_row_mul.h"
#define DOT_TIME dot_time_mul
#define DOT_TIME_ROW dot_time_row_mul
#define DOT_TIME_ROW_CUTS 0
#elif VG_THUMB1
#include "dot_time_m0.h"
#include "dot_time_row_m0.h"
#define DOT_TIME dot_time_c
#define DOT_TIME_PIECE dot_time_m0
#define DOT_TIME_ROW dot_time_row_m0
#define DOT_TIME_ROW_CUTS 1
#elif VG_SHORT
#include "dot_time_piece_c.h"
#define DOT_TIME dot_time_c
#define DOT_TIME_PIECE dot_time_piece_c
#elif defined(__AVX2__) && !defined(VG_PORTABLE)
#include "dot_time_avx2.h"
#define DOT_TIME dot_time_c
#define DOT_TIME_ROW dot_time_avx2
#define DOT_TIME_MEASURE dot_time_avx2_measure
#define DOT_TIME_ROW_CUTS 1
#define DOT_TIME_ROW_LEAST 16
#else
#define DOT_TIME dot_time_c
#endif

#if !VG_LEARNS_FAST || defined(VG_PORTABLE) || defined(__OPTIMIZE_SIZE__)
#elif VG_DSP
#include "dot_time_pairs_dsp.h"
#define DOT_TIME_PAIRS dot_time_pairs_dsp
#elif VG_THUMB2
#include "dot_time_pairs_mul.h"
#define DOT_TIME_PAIRS dot_time_pairs_mul
#elif VG_SHORT
#include "dot_time_pairs_m0.h"
#define DOT_TIME_PAIRS dot_time_pairs_m0
#endif

#ifndef DOT_TIME_ROW_LEAST
#define DOT_TIME_ROW_LEAST 1
#endif

#endif
