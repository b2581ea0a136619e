/* dot_rows_m0.h - Cortex-M0: a multiplication gives the lower 32 bits.  With
 * e = 2^10 high + low, 0 <= low < 2^10, the products of 64 lows by |w| <= 2^15
 * stay below 2^31, and those of the highs, too, if these add up to less than
 * 2^16.  Sums of w e modulo 2^32 and of w high give both.
 */
#ifndef VG_DOT_ROWS_M0_H
#define VG_DOT_ROWS_M0_H

#include "m0_frame.h"

enum { DOT_ROWS_PIECE = 64, DOT_ROWS_LOW = 10 };

/* One row.
 *
 *     r0 w   r1 e   r2-r6 data   r8, r9 the sums of w e and of w high of one
 *     column, r10, r11 of the other   r12 bytes from row to row   lr end of e
 */
#define DOT_ROWS_ROW                                                           \
    "ldmia r1!, {r2}\n\t"                                                      \
    "asrs r3, r2, #10\n\t"                                                     \
    "ldrh r4, [r0]\n\t"                                                        \
    "ldrh r5, [r0, #2]\n\t"                                                    \
    "add r0, r12\n\t"                                                          \
    "sxth r4, r4\n\t"                                                          \
    "sxth r5, r5\n\t"                                                          \
    "movs r6, r4\n\t"                                                          \
    "muls r6, r2\n\t"                                                          \
    "add r8, r6\n\t"                                                           \
    "muls r4, r3\n\t"                                                          \
    "add r9, r4\n\t"                                                           \
    "muls r2, r5\n\t"                                                          \
    "add r10, r2\n\t"                                                          \
    "muls r3, r5\n\t"                                                          \
    "add r11, r3\n\t"

/* Adds to the next sum at r7. */
#define DOT_ROWS_ADD(all, high)                                                \
    "mov r4, " high "\n\t"                                                     \
    "mov r3, " all "\n\t"                                                      \
    "lsls r2, r4, #10\n\t"                                                     \
    "subs r5, r3, r2\n\t"                                                      \
    "asrs r4, r4, #22\n\t"                                                     \
    "asrs r6, r5, #31\n\t"                                                     \
    "adds r2, r5\n\t"                                                          \
    "adcs r4, r6\n\t"                                                          \
    "ldr r3, [r7]\n\t"                                                         \
    "ldr r5, [r7, #4]\n\t"                                                     \
    "adds r2, r3\n\t"                                                          \
    "adcs r4, r5\n\t"                                                          \
    "stmia r7!, {r2, r4}\n\t"

/* Adds to sum[2] those of two columns in a piece; e < end. */
static VG_NAKED void dot_rows_m0_piece(VG_UNUSED(const int16_t *, w),
                                       VG_UNUSED(const int32_t *, e),
                                       VG_UNUSED(const int32_t *, end),
                                       VG_UNUSED(uint32_t, step),
                                       VG_UNUSED(int64_t *, sum))
{
    __asm__ volatile(M0_ENTER "ldr r7, [sp, #36]\n\t"
                              "mov r12, r3\n\t"
                              "mov lr, r2\n\t"
                              "movs r3, #0\n\t"
                              "mov r8, r3\n\t"
                              "mov r9, r3\n\t"
                              "mov r10, r3\n\t"
                              "mov r11, r3\n\t"
                              "subs r2, r1\n\t"
                              "lsls r2, #29\n\t"
                              "bpl 2f\n\t" DOT_ROWS_ROW "b 2f\n"
                              "1:\n\t" DOT_ROWS_ROW DOT_ROWS_ROW "2:\n\t"
                              "cmp r1, lr\n\t"
                              "bne 1b\n\t" DOT_ROWS_ADD("r8", "r9")
                                  DOT_ROWS_ADD("r10", "r11") M0_LEAVE);
}

static inline int dot_rows_m0_fit(const dot_rows *r)
{
    const int32_t *e = r->e;
    uint32_t left = r->rows;

    while (left) {
        uint32_t n = left < DOT_ROWS_PIECE ? left : DOT_ROWS_PIECE, size = n;
        left -= n;
        for (const int32_t *end = e + n; e < end; e++) {
            const int32_t high = fx_floor32(*e, DOT_ROWS_LOW);
            size += (uint32_t)(high < 0 ? ~high : high);
        }
        if (size >= 65536)
            return 0;
    }
    return r->shift >= 5 && r->shift < 32;
}

/* sum[2] of columns j and j + 1 of one gate. */
static inline void dot_rows_m0_gate(const dot_rows *r, uint32_t j, int64_t *sum)
{
    const int16_t *w = r->w + j;
    const int32_t *e = r->e;
    uint32_t left = r->rows;

    sum[0] = sum[1] = 0;
    while (left) {
        const uint32_t n = left < DOT_ROWS_PIECE ? left : DOT_ROWS_PIECE;
        dot_rows_m0_piece(w, e, e + n, 2 * r->stride, sum);
        left -= n;
        e += n;
        w += n * r->stride;
    }
}

/* rs(high:low, shift) modulo 2^32: what LSRS shifts out last is carried. */
static inline int32_t dot_rows_m0_rs(uint32_t low, uint32_t high, int shift)
{
    __asm__(".syntax unified\n\t"
            "lsls %[high], %[left]\n\t"
            "lsrs %[low], %[shift]\n\t"
            "adcs %[low], %[high]\n\t"
            : [low] "+l"(low), [high] "+l"(high)
            : [shift] "l"(shift), [left] "l"(32 - shift)
            : "cc");
    return (int32_t)low;
}

/* Where the high half of a sum is within +-2^(shift - 5), it is within +-2^27
 * when it is rounded. */
static inline int dot_rows_m0(const dot_rows *r, const dot_rows *end,
                              uint32_t j, int32_t *sum)
{
    for (; r < end; r++) {
        uint32_t size = 0;
        int64_t exact[2];
        dot_rows_m0_gate(r, j, exact);
        for (int k = 0; k < 2; k++) {
            const uint32_t high = (uint32_t)((uint64_t)exact[k] >> 32);
            size |= high ^ (0 - (high >> 31));
            sum[k] += dot_rows_m0_rs((uint32_t)exact[k], high, r->shift);
        }
        if (size >> (r->shift - 5))
            return 0;
    }
    return 1;
}

#undef DOT_ROWS_ADD
#undef DOT_ROWS_ROW

#endif
