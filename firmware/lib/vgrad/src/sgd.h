/* sgd.h - the kernel of this machine that moves weights by SGD, by the
 * compiler's own macros.  All move them alike; VG_PORTABLE asks for the
 * reference.  A kernel may also stop before a weight that it does not take.
 */
#ifndef VG_SGD_H
#define VG_SGD_H

#include "sgd_c.h"

#if VG_THUMB2
#include "sgd_thumb2.h"
#define SGD_MOVE sgd_thumb2
#elif VG_THUMB1
#include "sgd_m0.h"
#define SGD_MOVE sgd_m0
#elif defined(__AVX2__) && !defined(VG_PORTABLE)
#include "sgd_avx2.h"
#define SGD_MOVE sgd_avx2
#else
#define SGD_MOVE sgd_c
#endif

#endif
