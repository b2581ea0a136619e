/* dot_dsp_map.h - whole maps on cores with the DSP extension, two rows at a
 * time.  Naked functions, for the inner loops need all fourteen registers:
 *
 *     r0 z   r1-r7 data   r8, r9 and r10, r11 the two sums   r12, lr rows
 */
#ifndef VG_DOT_DSP_MAP_H
#define VG_DOT_DSP_MAP_H

#include "dot_dsp.h"

/* On the stack: what was pushed, then the arguments from the fifth on. */
#define DOT_DSP_B "[sp, #8]"
#define DOT_DSP_W "[sp, #52]"
#define DOT_DSP_A "[sp, #56]"      /* and the end of a */
#define DOT_DSP_B_STEP "[sp, #64]" /* and where a row starts */
#define DOT_DSP_SECOND "[sp, #72]" /* after the first four columns */
#define DOT_DSP_SHIFT "[sp, #76]"  /* and 32 - shift; or exps, arg_exp */

/* Eight columns, and four.  Every instruction has four bytes. */
#define DOT_DSP_16_ROW(w, low, high)                                           \
    "ldrd r6, r7, [" w "], #8\n\t"                                             \
    "smlald " low ", " high ", r6, r2\n\t"                                     \
    "smlald " low ", " high ", r7, r3\n\t"
#define DOT_DSP_16_NEXT(w, low, high)                                          \
    "ldrd r6, r7, [" w "], #8\n\t"                                             \
    "smlald " low ", " high ", r6, r4\n\t"                                     \
    "smlald " low ", " high ", r7, r5\n\t"
#define DOT_DSP_16_FOUR                                                        \
    "ldrd r2, r3, [r0], #8\n\t" DOT_DSP_16_ROW("r12", "r8", "r9")              \
        DOT_DSP_16_ROW("lr", "r10", "r11")
#define DOT_DSP_16_EIGHT                                                       \
    "ldm.w r0!, {r2-r5}\n\t" DOT_DSP_16_ROW("r12", "r8", "r9")                 \
        DOT_DSP_16_NEXT("r12", "r8", "r9") DOT_DSP_16_ROW("lr", "r10", "r11")  \
            DOT_DSP_16_NEXT("lr", "r10", "r11")

/* Two rows from the biases to the sums.  The loop takes 32 columns; its first
 * turn starts where the rest of them is. */
#define DOT_DSP_TWO_ROWS(eight, four)                                          \
    "push {r0-r11, lr}\n\t"                                                    \
    "ldr lr, " DOT_DSP_W "\n\t"                                                \
    "adr.w r5, 5f + 1\n\t"                                                     \
    "ldrd r6, r7, " DOT_DSP_B_STEP "\n\t"                                      \
    "sub r5, r7\n\t"                                                           \
    "ldr r4, " DOT_DSP_SECOND "\n\t"                                           \
    "str r5, " DOT_DSP_SECOND "\n\t"                                           \
    "cbz r4, 1f\n\t"                                                           \
    "adr.w r5, 3f + 1\n"                                                       \
    "1:\n\t"                                                                   \
    "strd r6, r5, " DOT_DSP_B_STEP "\n"                                        \
    "2:\n\t"                                                                   \
    "ldm sp, {r0-r3}\n\t" /* z, its end, b, bytes of a row */                  \
    "ldrd r4, r5, " DOT_DSP_B_STEP "\n\t"                                      \
    "ldrd r8, r10, [r2]\n\t"                                                   \
    "add r2, r4\n\t"                                                           \
    "str r2, " DOT_DSP_B "\n\t"                                                \
    "asr r9, r8, #31\n\t"                                                      \
    "asr r11, r10, #31\n\t"                                                    \
    "mov r12, lr\n\t"                                                          \
    "add lr, r3\n\t"                                                           \
    "mov pc, r5\n"                                                             \
    "3:\n\t" four "ldr pc, " DOT_DSP_SECOND "\n"                               \
    "4:\n\t" eight eight eight eight "5:\n\t"                                  \
    "ldr r2, [sp, #4]\n\t"                                                     \
    "cmp r0, r2\n\t"                                                           \
    "bne.w 4b\n\t"

/* sat16 of the sum rounded by r2: what LSRS shifts out last is carried. */
#define DOT_DSP_ROUND(low, high)                                               \
    "lsrs " low ", " low ", r2\n\t"                                            \
    "lsl " high ", " high ", r3\n\t"                                           \
    "adc " low ", " low ", " high "\n\t"                                       \
    "ssat " low ", #16, " low "\n\t"                                           \
    "strh " low ", [r4], #2\n\t"

#define DOT_DSP_END                                                            \
    "str r4, " DOT_DSP_A "\n\t"                                                \
    "cmp r4, r5\n\t"                                                           \
    "bne.w 2b\n\t"                                                             \
    "add sp, #16\n\t"                                                          \
    "pop {r4-r11, pc}"

/* Rows two by two from w on, up to end.  first: bytes of code of the eights
 * that the first turn takes; odd: four columns come before. */
#define DOT_DSP_IS(type, name) type name __attribute__((unused))

static __attribute__((naked, noinline)) void
dot_dsp_rows16(DOT_DSP_IS(const int16_t *, z),
               DOT_DSP_IS(const int16_t *, z_end),
               DOT_DSP_IS(const int32_t *, b), DOT_DSP_IS(uint32_t, row),
               DOT_DSP_IS(const void *, w), DOT_DSP_IS(int16_t *, a),
               DOT_DSP_IS(const int16_t *, end), DOT_DSP_IS(uint32_t, b_step),
               DOT_DSP_IS(uint32_t, first), DOT_DSP_IS(uint32_t, odd),
               DOT_DSP_IS(int32_t, shift), DOT_DSP_IS(int32_t, rest))
{
    __asm__ volatile(DOT_DSP_TWO_ROWS(DOT_DSP_16_EIGHT, DOT_DSP_16_FOUR) /**/
                     "ldrd r2, r3, " DOT_DSP_SHIFT "\n\t"
                     "ldrd r4, r5, " DOT_DSP_A "\n\t" /**/
                     DOT_DSP_ROUND("r8", "r9") DOT_DSP_ROUND("r10", "r11")
                         DOT_DSP_END);
}

static inline void dot_dsp_any16(const dot_map *m, int16_t *a)
{
    DOT_C_MAP(int16_t, 0, dot_dsp_w16)
}

static inline void dot_dsp_map8(const dot_map *m, int16_t *a)
{
    DOT_C_MAP(int8_t, 1, dot_dsp_w8)
}

enum { DOT_DSP_EIGHT_BYTES = 13 * 4 };

/* |W z + b| <= (stride + 2) 2^30, which must leave 32 bits when it is rounded.
 */
static inline void dot_dsp_map16(const dot_map *m, int16_t *a)
{
    static const int32_t none[2] = {0, 0};
    const int shift = m->exps[0] - m->arg_exp;
    const uint32_t row = 2 * m->stride, eights = m->stride / 8;
    const uint32_t first = eights ? (eights - 1) % 4 + 1 : 0;
    const uint32_t last = m->rows - 1;
    const int16_t *z = m->z, *z_end = z + m->stride;
    const uint8_t *w = m->w;

    if ((m->stride + 2) >> shift > 1) {
        dot_dsp_any16(m, a);
        return;
    }
    if (last)
        dot_dsp_rows16(z, z_end, m->b ? m->b : none, row, w, a,
                       a + (m->rows & ~1u), m->b ? 8 : 0,
                       first * DOT_DSP_EIGHT_BYTES, m->stride & 4, shift,
                       32 - shift);
    if (!(last & 1)) { /* once more the same row, from and to elsewhere */
        const int32_t b[2] = {m->b ? m->b[last] : 0, 0};
        int16_t two[2];
        dot_dsp_rows16(z, z_end, b, 0, w + row * last, two, two + 2, 0,
                       first * DOT_DSP_EIGHT_BYTES, m->stride & 4, shift,
                       32 - shift);
        a[last] = two[0];
    }
}

#endif
