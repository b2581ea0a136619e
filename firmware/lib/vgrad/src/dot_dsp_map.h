/* dot_dsp_map.h - whole maps on cores with the DSP extension, two rows at a
 * time.  Naked functions, for the inner loops need all fourteen registers:
 *
 *     r0 z   r1-r7 data   r8, r9 and r10, r11 the two sums   r12, lr the rows
 *
 * On the stack:
 *
 *     0 z, its end, b, bytes of a row     16 bytes from b to b, where a row
 *     24 where it goes on after four      starts: at its four odd columns, or
 *     28 shift, 32 - shift                among the eights
 *        or exps, arg_exp                 36 a, its even end, bytes after that
 */
#ifndef VG_DOT_DSP_MAP_H
#define VG_DOT_DSP_MAP_H

#include "dot_dsp.h"

/* clang-format off */

/* From dot_map *r0 and a = r1 to all that.  size: log2 of a weight's bytes;
 * eight: bytes of code for eight columns, of which a turn takes four times as
 * many, the first one what is left over. */
#define DOT_DSP_ENTER(size, eight)                                             \
    "push {r4-r11, lr}\n\t"                                                    \
    "sub sp, #48\n\t"                                                          \
    "ldm r0, {r2-r8}\n\t"                                                      \
    "mov lr, r2\n\t"                                                           \
    "lsl r9, r7, #" size "\n\t"                                                \
    "movs r10, #8\n\t"                                                         \
    "cbnz r3, 1f\n\t"                                                          \
    "movs r10, #0\n\t"                                                         \
    "adr.w r3, 7f\n"                                                           \
    "1:\n\t"                                                                   \
    "strd r3, r9, [sp, #8]\n\t"                                                \
    "add r9, r5, r7, lsl #1\n\t"                                               \
    "strd r5, r9, [sp]\n\t"                                                    \
    "and r3, r6, #1\n\t"                                                       \
    "subs r6, r6, r3\n\t"                                                      \
    "add r9, r1, r6, lsl #1\n\t"                                               \
    "strd r1, r9, [sp, #36]\n\t"                                               \
    "lsls r3, r3, #1\n\t"                                                      \
    "str r3, [sp, #44]\n\t"                                                    \
    "movs r1, #" eight "\n\t"                                                  \
    "lsrs r2, r7, #3\n\t"                                                      \
    "ittt ne\n\t"                                                              \
    "subne r2, #1\n\t"                                                         \
    "andne r2, #3\n\t"                                                         \
    "addne r2, #1\n\t"                                                         \
    "adr.w r5, 5f + 1\n\t"                                                     \
    "mls r5, r1, r2, r5\n\t"                                                   \
    "str r5, [sp, #24]\n\t"                                                    \
    "lsls r7, #29\n\t"                                                         \
    "it mi\n\t"                                                                \
    "adrmi.w r5, 3f + 1\n\t"                                                   \
    "strd r10, r5, [sp, #16]\n\t"

/* Two rows, from their biases to their sums. */
#define DOT_DSP_TWO_ROWS(eight, four, at_end)                                          \
    "2:\n\t"                                                                   \
    "ldm sp, {r0-r3}\n\t"                                                      \
    "ldrd r4, r5, [sp, #16]\n\t"                                               \
    "ldrd r8, r10, [r2]\n\t"                                                   \
    "add r2, r4\n\t"                                                           \
    "str r2, [sp, #8]\n\t"                                                     \
    "asr r9, r8, #31\n\t"                                                      \
    "asr r11, r10, #31\n\t"                                                    \
    "mov r12, lr\n\t"                                                          \
    "add lr, r3\n\t"                                                           \
    "mov pc, r5\n"                                                             \
    "3:\n\t" four "ldr pc, [sp, #24]\n"                                        \
    "4:\n\t" eight eight eight eight "5:\n\t"                                  \
    at_end "bne.w 4b\n\t"                                                             \
    "ldrd r4, r5, [sp, #36]\n\t"

/* sat16 of a sum rounded by r2: what LSRS shifts out last is carried. */
#define DOT_DSP_ROUND(low, high)                                               \
    "lsrs " low ", " low ", r2\n\t"                                            \
    "lsl " high ", " high ", r3\n\t"                                           \
    "adc " low ", " low ", " high "\n\t"                                       \
    "ssat " low ", #16, " low "\n\t"                                           \
    "strh " low ", [r4], #2\n\t"

/* The next two.  After an even end the last one, with the one before it again;
 * back: what else goes back a row. */
#define DOT_DSP_LEAVE(back)                                                    \
    "str r4, [sp, #36]\n\t"                                                    \
    "cmp r4, r5\n\t"                                                           \
    "bne.w 2b\n\t"                                                             \
    "ldr r2, [sp, #44]\n\t"                                                    \
    "cbz r2, 6f\n\t"                                                           \
    "add r5, r2\n\t"                                                           \
    "subs r4, r4, r2\n\t"                                                      \
    "strd r4, r5, [sp, #36]\n\t" back "movs r2, #0\n\t"                        \
    "str r2, [sp, #44]\n\t"                                                    \
    "ldrd r2, r3, [sp, #8]\n\t"                                                \
    "sub lr, lr, r3\n\t"                                                       \
    "ldr r5, [sp, #16]\n\t"                                                    \
    "sub r2, r2, r5, lsr #1\n\t"                                               \
    "str r2, [sp, #8]\n\t"                                                     \
    "b.w 2b\n"                                                                 \
    "6:\n\t"                                                                   \
    "add sp, #48\n\t"                                                          \
    "pop {r4-r11, pc}\n\t"                                                     \
    ".balign 4\n"                                                              \
    "7:\n\t"                                                                   \
    ".word 0, 0"

/* Two columns of one row for each SMLALD; an instruction takes four bytes. */
#define DOT_DSP_16_ROW(w, low, high, z0, z1)                                   \
    "ldrd r6, r7, [" w "], #8\n\t"                                             \
    "smlald " low ", " high ", r6, " z0 "\n\t"                                 \
    "smlald " low ", " high ", r7, " z1 "\n\t"
#define DOT_DSP_16_FOUR                                                        \
    "ldrd r2, r3, [r0], #8\n\t"                                                \
    DOT_DSP_16_ROW("r12", "r8", "r9", "r2", "r3")                              \
    DOT_DSP_16_ROW("lr", "r10", "r11", "r2", "r3")
#define DOT_DSP_16_EIGHT                                                       \
    "ldm.w r0!, {r2-r5}\n\t"                                                   \
    DOT_DSP_16_ROW("r12", "r8", "r9", "r2", "r3")                              \
    DOT_DSP_16_ROW("r12", "r8", "r9", "r4", "r5")                              \
    DOT_DSP_16_ROW("lr", "r10", "r11", "r2", "r3")                             \
    DOT_DSP_16_ROW("lr", "r10", "r11", "r4", "r5")

static VG_APART __attribute__((naked)) void
dot_dsp_rows16(const dot_map *m __attribute__((unused)),
               int16_t *a __attribute__((unused)))
{
    __asm__ volatile(DOT_DSP_ENTER("1", "13 * 4")
                     "ldrb r2, [r4]\n\t"
                     "subs r2, r2, r8\n\t"
                     "rsb r3, r2, #32\n\t"
                     "strd r2, r3, [sp, #28]\n"
                     DOT_DSP_TWO_ROWS(DOT_DSP_16_EIGHT, DOT_DSP_16_FOUR,
                                      "cmp r0, r1\n\t")
                     "ldrd r2, r3, [sp, #28]\n\t"
                     DOT_DSP_ROUND("r8", "r9")
                     DOT_DSP_ROUND("r10", "r11")
                     DOT_DSP_LEAVE(""));
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
#define DOT_DSP_8_SHIFT                                                        \
    "ldrb r2, [r6], #1\n\t"                                                    \
    "subs r2, r2, r7\n\t"                                                      \
    "rsb r3, r2, #32\n\t"
#define DOT_DSP_8_BACK                                                         \
    "subs r6, #1\n\t"                                                          \
    "str r6, [sp, #28]\n\t"

static VG_APART __attribute__((naked)) void
dot_dsp_rows8(const dot_map *m __attribute__((unused)),
              int16_t *a __attribute__((unused)))
{
    __asm__ volatile(DOT_DSP_ENTER("0", "23 * 4")
                     "strd r4, r8, [sp, #28]\n"
                     DOT_DSP_TWO_ROWS(DOT_DSP_8_EIGHT, DOT_DSP_8_FOUR,
                                      "ldr r2, [sp, #4]\n\tcmp r0, r2\n\t")
                     "ldrd r6, r7, [sp, #28]\n\t"
                     DOT_DSP_8_SHIFT DOT_DSP_ROUND("r8", "r9")
                     DOT_DSP_8_SHIFT DOT_DSP_ROUND("r10", "r11")
                     "str r6, [sp, #28]\n\t"
                     DOT_DSP_LEAVE(DOT_DSP_8_BACK));
}

/* clang-format on */

/* What is rounded must leave 32 bits, for |b| <= 2 2^30 and |w z| < 2^30 or
 * 2^22; one row alone has no second one. */
static inline void dot_dsp_map16(const dot_map *m, int16_t *a)
{
    if (m->rows == 1 || (m->stride + 2) >> (m->exps[0] - m->arg_exp) > 1)
        dot_dsp_any16(m, a);
    else
        dot_dsp_rows16(m, a);
}

static inline void dot_dsp_map8(const dot_map *m, int16_t *a)
{
    if (m->rows == 1 || m->stride > 512)
        dot_dsp_any8(m, a);
    else
        dot_dsp_rows8(m, a);
}

#endif
