/* dot_rows_dsp.h - cores with the DSP extension: errors cut into halves, and
 * weights packed by pairs of rows beforehand.  SMLAD adds the products of two
 * rows onto 32 bits; what does not fit there, or a half into 16 bits, leaves
 * its mark in the flag Q.
 */
#ifndef VG_DOT_ROWS_DSP_H
#define VG_DOT_ROWS_DSP_H

#include "dot_dsp_four.h"

/* e = 2^10 high + low, 0 <= low < 2^10. */
enum { DOT_ROWS_HALF = 10, DOT_ROWS_MOST_GATES = 7 };

/* A gate.  Rows go by four: behind the last one e is whatever and w has zeros.
 * w: of two columns four rows of one, then of the other, and so on. */
typedef struct {
    const int32_t *e;
    uint32_t *cut; /* room for e */
    uint32_t *cut_end;
    const uint32_t *w;
    int32_t *out, *end;
    int32_t shift; /* DOT_ROWS_HALF + 1 to 31 */
} dot_rows_halves;

static inline uint32_t dot_rows_fours(uint32_t rows)
{
    return (rows + 3) & ~(uint32_t)3;
}

/* Of two columns four rows: of one, then of the other. */
static inline void dot_rows_put(uint32_t a, uint32_t b, uint32_t c, uint32_t d,
                                uint32_t *to)
{
    to[0] = (a & 0xFFFF) | b << 16;
    to[1] = (c & 0xFFFF) | d << 16;
    to[2] = a >> 16 | (b & 0xFFFF0000);
    to[3] = c >> 16 | (d & 0xFFFF0000);
}

static inline uint32_t dot_rows_two(const int16_t *w)
{
    uint32_t two;

    memcpy(&two, w, sizeof two);
    return two;
}

/* The weights of two neighbouring columns from w on.  Returns where the next
 * two go. */
static inline uint32_t *dot_rows_pack(const int16_t *w, uint32_t rows,
                                      uint32_t stride, uint32_t *to)
{
    for (; rows >= 4; rows -= 4, w += 4 * stride, to += 4)
        dot_rows_put(dot_rows_two(w), dot_rows_two(w + stride),
                     dot_rows_two(w + 2 * stride), dot_rows_two(w + 3 * stride),
                     to);
    if (!rows)
        return to;
    dot_rows_put(dot_rows_two(w), rows > 1 ? dot_rows_two(w + stride) : 0,
                 rows > 2 ? dot_rows_two(w + 2 * stride) : 0, 0, to);
    return to + 4;
}

/* clang-format off */

/* The errors a, b to the words of their lows, in a, and of their highs. */
#define DOT_ROWS_CUT(a, b, high)                                               \
    "ssat " high ", #16, " a ", asr #10\n\t"                                   \
    "ssat lr, #16, " b ", asr #10\n\t"                                         \
    "pkhbt " high ", " high ", lr, lsl #16\n\t"                                \
    "ubfx " a ", " a ", #0, #10\n\t"                                           \
    "bfi " a ", " b ", #16, #10\n\t"

/* out[n] += rs(sum of w e, shift), n even, not 0, but for what Q says.
 *
 * r0 is e, r1 w.  On the stack what the sums start from, where the inner loop does, the end of
 * e, e, out and its end, shift less ten. */
static VG_NAKED void
dot_rows_dsp_gate(VG_UNUSED(const dot_rows_halves *, h))
{
    __asm__ volatile(
        "push {r4-r11, lr}\n\t"
        "ldm r0, {r0-r6}\n\t"
        "subs r6, #10\n\t"
        "push {r1, r4, r5, r6}\n\t"
        "subs r8, r1, r2\n\t"
        "ubfx r8, r8, #4, #2\n\t"
        "mov r9, #40\n\t"
        "adr.w r10, 2f + 1\n\t"
        "mla r8, r8, r9, r10\n\t"
        "mov r9, r2\n\t"
        "push {r8, r9}\n\t"
        "mov r8, #512\n\t"
        "lsl r8, r6\n\t"
        "mov r9, #0\n\t"
        "push {r8, r9}\n\t"
        "push {r8, r9}\n"
        "0:\n\t"
        "ldm.w r0!, {r4-r7}\n\t"
        DOT_ROWS_CUT("r4", "r5", "r8")
        DOT_ROWS_CUT("r6", "r7", "r9")
        "strd r4, r8, [r1], #8\n\t"
        "strd r6, r9, [r1], #8\n\t"
        "cmp r1, r2\n\t"
        "bne 0b\n\t"
        "mov r1, r3\n\t"
        "ldr r0, [sp, #24]\n"
        "1:\n\t"
        "ldm.w sp, {r8-r11}\n\t"
        "ldr pc, [sp, #16]\n"
        "2:\n\t"
        DOT_DSP_FOUR DOT_DSP_FOUR DOT_DSP_FOUR DOT_DSP_FOUR
        "ldr r2, [sp, #20]\n\t"
        "cmp r0, r2\n\t"
        "bne.w 2b\n\t"
        "ldrd r0, r2, [sp, #24]\n\t"
        "ldrd r3, r4, [sp, #32]\n\t"
        "ssat r9, #30, r9\n\t"
        "ssat r11, #30, r11\n\t"
        "add r9, r9, r8, asr #10\n\t"
        "add r11, r11, r10, asr #10\n\t"
        "asr r9, r4\n\t"
        "asr r11, r4\n\t"
        "ldrd r5, r6, [r2]\n\t"
        "add r9, r5\n\t"
        "add r11, r6\n\t"
        "strd r9, r11, [r2], #8\n\t"
        "str r2, [sp, #28]\n\t"
        "cmp r2, r3\n\t"
        "bne.w 1b\n\t"
        "add sp, #40\n\t"
        "pop {r4-r11, pc}");
}

/* clang-format on */

static inline void dot_rows_clear_q(void)
{
    __asm__ volatile("msr APSR_nzcvq, %0" : : "r"(0) : "cc");
}

static inline int dot_rows_q(void)
{
    uint32_t flags;

    __asm__ volatile("mrs %0, APSR" : "=r"(flags));
    return (flags >> 27 & 1) != 0;
}

#undef DOT_ROWS_CUT

#endif
