/* dot_fours.h - a whole map by a kernel of four rows: four(m, a) takes the
 * first four rows of a map, two_rows what is left.  each is 0 where the rows
 * have one exponent, else 1.
 */
#ifndef VG_DOT_FOURS_H
#define VG_DOT_FOURS_H

#include "dot_c.h"

#define DOT_FOURS(type, each, four, two_rows)                                  \
    dot_map rest = *m;                                                         \
    for (; rest.rows >= 4; rest.rows -= 4, a += 4) {                           \
        four(&rest, a);                                                        \
        rest.w = (const type *)rest.w + 4 * m->stride;                         \
        if (m->b)                                                              \
            rest.b += 4;                                                       \
        rest.exps += 4 * each;                                                 \
    }                                                                          \
    m = &rest;                                                                 \
    DOT_C_MAP(type, each, two_rows)

#endif
