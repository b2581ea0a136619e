/* dot_dsp_map.h - whole maps on cores with the DSP extension, two rows at a
 * time.  Naked functions, for the inner loops need all fourteen registers:
 *
 *     r0 z   r1-r7 data   r8, r9 and r10, r11 the two sums   r12, lr the rows
 *
 * On the stack, and between two pairs of rows in r0-r7 and r12:
 *
 *      0 z, its end                       28 shift, 32 - shift
 *      8 bytes of a row                      or exps, arg_exp
 *     12 b - scale a, and the scale, 2    36 where a row starts, and where it
 *        or, for zeros instead of b, 0       goes on after odd columns
 *     20 a, its even end                  44 bytes of a after that
 *                                         48 the next of arg_exps[], and the
 *                                            bytes of a
 */
#ifndef VG_DOT_DSP_MAP_H
#define VG_DOT_DSP_MAP_H

#include "dot_dsp.h"

/* clang-format off */

/* From dot_gates *r0 and a = r1 to all that does not depend on the weights'
 * bits; r4 exps and r7 columns stay.  size: log2 of a weight's bytes. */
#define DOT_DSP_ENTER(size)                                                    \
    "push {r4-r11, lr}\n\t"                                                    \
    "sub sp, #56\n\t"                                                          \
    "ldm r0, {r2-r7}\n\t"                                                      \
    "mov lr, r2\n\t"                                                           \
    "adds r0, #29\n\t"                                                         \
    "lsls r6, r6, #1\n\t"                                                      \
    "strd r0, r6, [sp, #48]\n\t"                                               \
    "add r6, r5, r7, lsl #1\n\t"                                               \
    "strd r5, r6, [sp]\n\t"                                                    \
    "movs r0, #2\n\t"                                                          \
    "cbnz r3, 1f\n\t"                                                          \
    "movs r0, #0\n\t"                                                          \
    "adr.w r3, 7f\n"                                                           \
    "1:\n\t"                                                                   \
    "mls r3, r0, r1, r3\n\t"                                                   \
    "lsl r2, r7, #" size "\n\t"                                                \
    "strd r2, r3, [sp, #8]\n\t"                                                \
    "strd r0, r1, [sp, #16]\n\t"

/* Two rows, from their biases to their sums. */
#define DOT_DSP_TWO_ROWS(odd, turn, at_end)                                    \
    "ldm sp, {r0-r5}\n\t"                                                      \
    "b.w 6f\n"                                                                 \
    "2:\n\t"                                                                   \
    "mla r6, r4, r5, r3\n\t"                                                   \
    "ldrd r8, r10, [r6]\n\t"                                                   \
    "asr r9, r8, #31\n\t"                                                      \
    "asr r11, r10, #31\n\t"                                                    \
    "mov r12, lr\n\t"                                                          \
    "add lr, lr, r2\n\t"                                                       \
    "ldr pc, [sp, #36]\n"                                                      \
    odd                                                                        \
    "4:\n\t" turn "5:\n\t"                                                     \
    at_end "bne.w 4b\n\t"                                                      \
    "ldm.w sp, {r0-r7, r12}\n\t"

/* sat16 of a sum shifted to the right; left: 32 less that.  What LSRS shifts
 * out last is carried. */
#define DOT_DSP_ROUND(low, high, right, left)                                  \
    "lsrs " low ", " low ", " right "\n\t"                                     \
    "lsl " high ", " high ", " left "\n\t"                                     \
    "adc " low ", " low ", " high "\n\t"                                       \
    "ssat " low ", #16, " low "\n\t"                                           \
    "strh " low ", [r5], #2\n\t"

/* The next two.  After an even end the last one, with the one before it again;
 * back: what else goes back a row.  Then the next map; given: what to do with
 * its number in arg_exps[], r7. */
#define DOT_DSP_LEAVE(back, given)                                             \
    "str r5, [sp, #20]\n\t"                                                    \
    "cmp r5, r6\n\t"                                                           \
    "bne.w 2b\n\t"                                                             \
    "ldr r6, [sp, #44]\n\t"                                                    \
    "cmp r5, r6\n\t"                                                           \
    "beq 6f\n\t"                                                               \
    "subs r5, r5, #2\n\t"                                                      \
    "strd r5, r6, [sp, #20]\n\t"                                               \
    "sub lr, lr, r2\n\t" back                                                  \
    "b.w 2b\n"                                                                 \
    "6:\n\t"                                                                   \
    "ldr r6, [sp, #48]\n\t"                                                    \
    "ldrb r7, [r6], #1\n\t"                                                    \
    "cmp r7, #255\n\t"                                                         \
    "beq 9f\n\t"                                                               \
    "str r6, [sp, #48]\n\t" given                                              \
    "ldr r6, [sp, #52]\n\t"                                                    \
    "adds r7, r5, r6\n\t"                                                      \
    "str r7, [sp, #44]\n\t"                                                    \
    "bic r6, r6, #2\n\t"                                                       \
    "adds r6, r6, r5\n\t"                                                      \
    "str r6, [sp, #24]\n\t"                                                    \
    "b.w 2b\n"                                                                 \
    "9:\n\t"                                                                   \
    "add sp, #56\n\t"                                                          \
    "pop {r4-r11, pc}\n\t"                                                     \
    ".balign 4\n"                                                              \
    "7:\n\t"                                                                   \
    ".word 0, 0"

/* Six columns of both rows, in nine instructions of four bytes, and the two or
 * four that are left over. */
#define DOT_DSP_16_THREE(low, high)                                            \
    "smlald " low ", " high ", r5, r2\n\t"                                     \
    "smlald " low ", " high ", r6, r3\n\t"                                     \
    "smlald " low ", " high ", r7, r4\n\t"
#define DOT_DSP_16_SIX                                                         \
    "ldm.w r0!, {r2-r4}\n\t"                                                   \
    "ldm.w r12!, {r5-r7}\n\t" DOT_DSP_16_THREE("r8", "r9")                     \
    "ldm.w lr!, {r5-r7}\n\t" DOT_DSP_16_THREE("r10", "r11")
#define DOT_DSP_16_ODD                                                         \
    "8:\n\t"                                                                   \
    "ldr r2, [r0], #4\n\t"                                                     \
    "ldr r5, [r12], #4\n\t"                                                    \
    "smlald r8, r9, r5, r2\n\t"                                                \
    "ldr r5, [lr], #4\n\t"                                                     \
    "smlald r10, r11, r5, r2\n\t"                                              \
    "ldr pc, [sp, #40]\n"                                                      \
    "3:\n\t"                                                                   \
    "ldrd r2, r3, [r0], #8\n\t"                                                \
    "ldrd r5, r6, [r12], #8\n\t"                                               \
    "smlald r8, r9, r5, r2\n\t"                                                \
    "smlald r8, r9, r6, r3\n\t"                                                \
    "ldrd r5, r6, [lr], #8\n\t"                                                \
    "smlald r10, r11, r5, r2\n\t"                                              \
    "smlald r10, r11, r6, r3\n\t"                                              \
    "ldr pc, [sp, #40]\n"

/* arg_exps[] are shifts. */
static VG_APART __attribute__((naked)) void
dot_dsp_rows16(const dot_gates *g __attribute__((unused)),
               int16_t *a __attribute__((unused)))
{
    __asm__ volatile(DOT_DSP_ENTER("1")
                     "lsrs r7, r7, #1\n\t"
                     "movs r3, #3\n\t"
                     "udiv r2, r7, r3\n\t"
                     "mls r3, r2, r3, r7\n\t"
                     "and r2, r2, #7\n\t"
                     "adr.w r4, 5f + 1\n\t"
                     "movs r5, #36\n\t"
                     "mls r4, r5, r2, r4\n\t"
                     "mov r5, r4\n\t"
                     "cmp r3, #1\n\t"
                     "it eq\n\t"
                     "adreq.w r4, 8f + 1\n\t"
                     "it hi\n\t"
                     "adrhi.w r4, 3f + 1\n\t"
                     "strd r4, r5, [sp, #36]\n\t"
                     DOT_DSP_TWO_ROWS(DOT_DSP_16_ODD,
                                      DOT_DSP_16_SIX DOT_DSP_16_SIX
                                      DOT_DSP_16_SIX DOT_DSP_16_SIX
                                      DOT_DSP_16_SIX DOT_DSP_16_SIX
                                      DOT_DSP_16_SIX DOT_DSP_16_SIX,
                                      "cmp r0, r1\n\t")
                     DOT_DSP_ROUND("r8", "r9", "r7", "r12")
                     DOT_DSP_ROUND("r10", "r11", "r7", "r12")
                     DOT_DSP_LEAVE("", "rsb r8, r7, #32\n\t"
                                       "strd r7, r8, [sp, #28]\n\t"));
}

/* SXTB16 takes bytes 0 and 2 of a word or, rotated, 1 and 3: z goes in such
 * pairs, too, columns 0 2, 1 3, 4 6 and 5 7 in r6, r3, r2 and r5. */
#define DOT_DSP_8_WORD(w, low, high, z0, z1)                                   \
    "sxtb16 r1, " w "\n\t"                                                     \
    "smlald " low ", " high ", r1, " z0 "\n\t"                                 \
    "sxtb16 r1, " w ", ror #8\n\t"                                             \
    "smlald " low ", " high ", r1, " z1 "\n\t"
#define DOT_DSP_8_ROW(w, low, high)                                            \
    "ldrd r4, r7, [" w "], #8\n\t"                                             \
    DOT_DSP_8_WORD("r4", low, high, "r6", "r3")                                \
    DOT_DSP_8_WORD("r7", low, high, "r2", "r5")
#define DOT_DSP_8_FOUR                                                         \
    "ldrd r2, r3, [r0], #8\n\t"                                                \
    "pkhbt r6, r2, r3, lsl #16\n\t"                                            \
    "pkhtb r3, r3, r2, asr #16\n\t"                                            \
    "ldr r4, [r12], #4\n\t"                                                    \
    DOT_DSP_8_WORD("r4", "r8", "r9", "r6", "r3")                               \
    "ldr r4, [lr], #4\n\t"                                                     \
    DOT_DSP_8_WORD("r4", "r10", "r11", "r6", "r3")
#define DOT_DSP_8_EIGHT                                                        \
    "ldm.w r0!, {r2-r5}\n\t"                                                   \
    "pkhbt r6, r2, r3, lsl #16\n\t"                                            \
    "pkhtb r3, r3, r2, asr #16\n\t"                                            \
    "pkhbt r2, r4, r5, lsl #16\n\t"                                            \
    "pkhtb r5, r5, r4, asr #16\n\t"                                            \
    DOT_DSP_8_ROW("r12", "r8", "r9")                                           \
    DOT_DSP_8_ROW("lr", "r10", "r11")
#define DOT_DSP_8_ROUND(low, high)                                             \
    "ldrb r0, [r7], #1\n\t"                                                    \
    "sub r0, r0, r12\n\t"                                                      \
    "rsb r1, r0, #32\n\t" DOT_DSP_ROUND(low, high, "r0", "r1")
#define DOT_DSP_8_BACK                                                         \
    "subs r7, #1\n\t"                                                          \
    "str r7, [sp, #28]\n\t"

/* A turn has up to four eights of 23 instructions, the first one what is left
 * over. */
static VG_APART __attribute__((naked)) void
dot_dsp_rows8(const dot_gates *g __attribute__((unused)),
              int16_t *a __attribute__((unused)))
{
    __asm__ volatile(DOT_DSP_ENTER("0")
                     "str r4, [sp, #28]\n\t"
                     "lsrs r2, r7, #3\n\t"
                     "ittt ne\n\t"
                     "subne r2, #1\n\t"
                     "andne r2, #3\n\t"
                     "addne r2, #1\n\t"
                     "movs r1, #23 * 4\n\t"
                     "adr.w r5, 5f + 1\n\t"
                     "mls r5, r1, r2, r5\n\t"
                     "mov r4, r5\n\t"
                     "lsls r7, #29\n\t"
                     "it mi\n\t"
                     "adrmi.w r4, 3f + 1\n\t"
                     "strd r4, r5, [sp, #36]\n\t"
                     DOT_DSP_TWO_ROWS("3:\n\t" DOT_DSP_8_FOUR
                                      "ldr pc, [sp, #40]\n",
                                      DOT_DSP_8_EIGHT DOT_DSP_8_EIGHT
                                      DOT_DSP_8_EIGHT DOT_DSP_8_EIGHT,
                                      "ldr r2, [sp, #4]\n\tcmp r0, r2\n\t")
                     DOT_DSP_8_ROUND("r8", "r9")
                     DOT_DSP_8_ROUND("r10", "r11")
                     "str r7, [sp, #28]\n\t"
                     "ldrd r0, r1, [sp]\n\t"
                     DOT_DSP_LEAVE(DOT_DSP_8_BACK, "str r7, [sp, #32]\n\t"));
}

/* clang-format on */

/* Maps that a kernel does not take. */
static VG_APART void dot_dsp_each16(dot_gates *g, int16_t *a)
{
    DOT_C_GATES(int16_t, 0, dot_dsp_any16)
}

static VG_APART void dot_dsp_each8(dot_gates *g, int16_t *a)
{
    DOT_C_GATES(int8_t, 1, dot_dsp_any8)
}

/* arg_exps[] from exponents to shifts, or back.  Returns whether what is
 * rounded leaves 32 bits, for |b| <= 2 2^30 and |w z| < 2^30. */
static VG_APART int dot_dsp_shifts(dot_gates *g)
{
    int fit = 1;

    for (uint32_t k = 0; k < g->n; k++) {
        const int32_t shift = g->map.exps[k] - g->arg_exps[k];
        g->arg_exps[k] = (uint8_t)shift;
        if ((g->map.stride + 2) >> shift > 1)
            fit = 0;
    }
    return fit;
}

/* One row alone has no second one. */
static inline void dot_dsp_gates16(dot_gates *g, int16_t *a)
{
    if (dot_dsp_shifts(g) && g->map.rows > 1) {
        g->arg_exps[g->n] = 255;
        dot_dsp_rows16(g, a);
    } else {
        (void)dot_dsp_shifts(g);
        dot_dsp_each16(g, a);
    }
}

/* |w z| <= 2^22 and every shift is at least 1, as above. */
static inline void dot_dsp_gates8(dot_gates *g, int16_t *a)
{
    if (g->map.stride <= 512 && g->map.rows > 1) {
        g->arg_exps[g->n] = 255;
        dot_dsp_rows8(g, a);
    } else {
        dot_dsp_each8(g, a);
    }
}

#endif
