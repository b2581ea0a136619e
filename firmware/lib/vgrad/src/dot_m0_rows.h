/* dot_m0_rows.h - maps in rows on cores with a product of 32 bits alone, two
 * rows at a time.
 *
 *     r0, r2 the rows   r1 z   r3-r7 data   r8, r9 low and high of the first
 *     row, or its sum in r8, r10, r11 of the second   r12 the end of z
 */
#ifndef VG_DOT_M0_ROWS_H
#define VG_DOT_M0_ROWS_H

#include "dot_m0.h"

#define DOT_M0_STRIDE16 "[sp, #60]" /* in bytes */
#define DOT_M0_STRIDE8 "[sp, #64]"

/* clang-format off */

/* r2: the second of two rows. */
#define DOT_M0_ROWS(stride)                                                    \
    "ldr r2, " stride "\n\t"                                                   \
    "adds r2, r0\n\t"                                                          \
    "movs r7, #0\n\t"                                                          \
    "mov r8, r7\n\t"                                                           \
    "mov r9, r7\n\t"                                                           \
    "mov r10, r7\n\t"                                                          \
    "mov r11, r7\n"                                                            \
    "2:\n\t"

/* Two columns of z, r4 and r3. */
#define DOT_M0_TWO_Z                                                           \
    "ldmia r1!, {r3}\n\t"                                                      \
    "sxth r4, r3\n\t"                                                          \
    "asrs r3, r3, #16\n\t"

#define DOT_M0_TWO16_OF(w, low, high)                                          \
    "ldmia " w "!, {r5}\n\t"                                                   \
    "sxth r6, r5\n\t"                                                          \
    "asrs r5, r5, #16\n\t"                                                     \
    "muls r6, r4\n\t"                                                          \
    "muls r5, r3\n\t"                                                          \
    "adds r6, r5\n\t"                                                          \
    "add " low ", r6\n\t"                                                      \
    "asrs r6, r6, #16\n\t"                                                     \
    "add " high ", r6\n\t"
#define DOT_M0_TWO_ROWS16                                                      \
    DOT_M0_TWO_Z                                                               \
    DOT_M0_TWO16_OF("r0", "r8", "r9")                                          \
    DOT_M0_TWO16_OF("r2", "r10", "r11")

/* The results of rows, an even number, from w on, up to a_end. */
static VG_NAKED void
dot_m0_rows16(VG_UNUSED(const int16_t *, w), VG_UNUSED(const int16_t *, z),
              VG_UNUSED(const int16_t *, z_end),
              VG_UNUSED(const int32_t *, b), VG_UNUSED(int16_t *, a),
              VG_UNUSED(const int16_t *, a_end), VG_UNUSED(uint32_t, b_step),
              VG_UNUSED(int32_t, shift), VG_UNUSED(uint32_t, stride))
{
    __asm__ volatile(DOT_M0_BEGIN
                     DOT_M0_ROWS(DOT_M0_STRIDE16)
                     DOT_M0_TWO_ROWS16 DOT_M0_TWO_ROWS16
                     "cmp r1, r12\n\t"
                     "bne 2b\n\t"
                     "mov r0, r2\n\t"
                     DOT_M0_RESULTS16);
}

/* Column r7 of both rows. */
#define DOT_M0_ONE8(z)                                                         \
    "ldrsb r5, [r0, r7]\n\t"                                                   \
    "muls r5, " z "\n\t"                                                       \
    "add r8, r5\n\t"                                                           \
    "ldrsb r5, [r2, r7]\n\t"                                                   \
    "muls r5, " z "\n\t"                                                       \
    "add r10, r5\n\t"                                                          \
    "adds r7, #1\n\t"
#define DOT_M0_TWO_ROWS8                                                       \
    DOT_M0_TWO_Z                                                               \
    DOT_M0_ONE8("r4")                                                          \
    DOT_M0_ONE8("r3")

static VG_NAKED void
dot_m0_rows8(VG_UNUSED(const int8_t *, w), VG_UNUSED(const int16_t *, z),
             VG_UNUSED(const int16_t *, z_end), VG_UNUSED(const int32_t *, b),
             VG_UNUSED(int16_t *, a), VG_UNUSED(const int16_t *, a_end),
             VG_UNUSED(uint32_t, b_step), VG_UNUSED(const uint8_t *, exps),
             VG_UNUSED(int32_t, arg_exp), VG_UNUSED(uint32_t, stride))
{
    __asm__ volatile(DOT_M0_BEGIN
                     DOT_M0_ROWS(DOT_M0_STRIDE8)
                     DOT_M0_TWO_ROWS8 DOT_M0_TWO_ROWS8
                     "cmp r1, r12\n\t"
                     "bne 2b\n\t"
                     "adds r0, r2, r7\n\t"
                     "mov r2, r8\n\t"
                     "mov r3, r10\n\t"
                     DOT_M0_RESULTS8("2", "4",
                                     DOT_M0_ROW8("r2", "0", "0")
                                     DOT_M0_ROW8("r3", "1", "2")));
}
/* clang-format on */

static VG_APART void dot_m0_some16(const dot_map *m, uint32_t first,
                                   uint32_t end, int16_t *a)
{
    const int16_t *w = (const int16_t *)m->w + first * m->stride, *z = m->z;

    dot_m0_rows16(w, z, z + m->stride, m->b ? m->b + first : dot_m0_none,
                  a + first, a + end, m->b ? 8 : 0, m->exps[0] - m->arg_exp,
                  2 * m->stride);
}

static VG_APART void dot_m0_some8(const dot_map *m, uint32_t first,
                                  uint32_t end, int16_t *a)
{
    const int8_t *w = (const int8_t *)m->w + first * m->stride;
    const int16_t *z = m->z;

    dot_m0_rows8(w, z, z + m->stride, m->b ? m->b + first : dot_m0_none,
                 a + first, a + end, m->b ? 8 : 0, m->exps + first, m->arg_exp,
                 m->stride);
}

/* Maps that no kernel takes, most of one row. */
static VG_APART int64_t dot_m0_row16(const int16_t *w, const int16_t *z,
                                     uint32_t n)
{
    return dot_c_row16(w, z, n);
}

static VG_APART void dot_m0_any16(const dot_map *m, int16_t *a)
{
    DOT_C_ROWS(int16_t, 0, dot_m0_row16)
}

static VG_APART void dot_m0_any8(const dot_map *m,
                                 int16_t *a){DOT_C_ROWS(int8_t, 1, dot_c_row8)}

/* An odd last row goes with the one before, again. */
#define DOT_M0_MAP(some, m, a)                                                 \
    do {                                                                       \
        const uint32_t rows = (m)->rows;                                       \
        some(m, 0, rows & ~1u, a);                                             \
        if (rows & 1)                                                          \
            some(m, rows - 2, rows, a);                                        \
    } while (0)

/* |W z + b| <= (n + 2) 2^30, which must leave 32 bits when it is rounded. */
static inline void dot_m0_map16(const dot_map *m, int16_t *a)
{
    if (m->rows < 2 || !m->stride ||
        (m->stride + 2) >> (m->exps[0] - m->arg_exp) > 1)
        dot_m0_any16(m, a);
    else
        DOT_M0_MAP(dot_m0_some16, m, a);
}

/* Sums stay below 2^31, and with b below 2^32, so that a shift of 1 leaves 32
 * bits. */
static inline void dot_m0_map8(const dot_map *m, int16_t *a)
{
    if (m->rows < 2 || !m->stride || m->stride >= 512)
        dot_m0_any8(m, a);
    else
        DOT_M0_MAP(dot_m0_some8, m, a);
}

#undef DOT_M0_MAP

#endif
