/* dot_dsp_rows8.h - whole maps of 8 bits, in the frame of dot_thumb2_rows.h.
 */
#ifndef VG_DOT_DSP_ROWS8_H
#define VG_DOT_DSP_ROWS8_H

#include "dot_dsp.h"
#include "dot_thumb2_rows.h"

/* clang-format off */

/* SXTB16 takes bytes 0 and 2 of a word or, rotated, 1 and 3: z lies in such
 * pairs, too, columns 0 2, 1 3, 4 6 and 5 7 in r2-r5. */
#define DOT_DSP_8_WORD(w, low, high, z0, z1)                                   \
    "sxtb16 r1, " w "\n\t"                                                     \
    "smlald " low ", " high ", r1, " z0 "\n\t"                                 \
    "sxtb16 r1, " w ", ror #8\n\t"                                             \
    "smlald " low ", " high ", r1, " z1 "\n\t"
#define DOT_DSP_8_ROW(w, low, high)                                            \
    "ldrd r6, r7, [" w "], #8\n\t"                                             \
    DOT_DSP_8_WORD("r6", low, high, "r2", "r3")                                \
    DOT_DSP_8_WORD("r7", low, high, "r4", "r5")
#define DOT_DSP_8_FOUR                                                         \
    "ldrd r2, r3, [r0], #8\n\t"                                                \
    "ldr r6, [r12], #4\n\t"                                                    \
    DOT_DSP_8_WORD("r6", "r8", "r9", "r2", "r3")                               \
    "ldr r6, [lr], #4\n\t"                                                     \
    DOT_DSP_8_WORD("r6", "r10", "r11", "r2", "r3")
#define DOT_DSP_8_EIGHT                                                        \
    "ldm.w r0!, {r2-r5}\n\t"                                                   \
    DOT_DSP_8_ROW("r12", "r8", "r9")                                           \
    DOT_DSP_8_ROW("lr", "r10", "r11")
/* A turn has up to four eights of 19 instructions, the first one what is left
 * over. */
static VG_NAKED void
dot_dsp_rows8(VG_UNUSED(const dot_gates *, g),
              VG_UNUSED(int16_t *, a))
{
    __asm__ volatile(DOT_THUMB2_ENTER("0")
                     "str r4, [sp, #24]\n\t"
                     "lsrs r2, r7, #3\n\t"
                     "ittt ne\n\t"
                     "subne r2, #1\n\t"
                     "andne r2, #3\n\t"
                     "addne r2, #1\n\t"
                     "movs r1, #19 * 4\n\t"
                     "adr.w r5, 5f + 1\n\t"
                     "mls r5, r1, r2, r5\n\t"
                     "mov r4, r5\n\t"
                     "lsls r7, #29\n\t"
                     "it mi\n\t"
                     "adrmi.w r4, 3f + 1\n\t"
                     "strd r4, r5, [sp, #40]\n\t"
                     DOT_THUMB2_TWO_ROWS(DOT_THUMB2_EXP8, "3:\n\t" DOT_DSP_8_FOUR
                                      "ldr pc, [sp, #44]\n",
                                      DOT_DSP_8_EIGHT DOT_DSP_8_EIGHT
                                      DOT_DSP_8_EIGHT DOT_DSP_8_EIGHT,
                                      "ldr r2, [sp, #4]\n\tcmp r0, r2\n\t")
                     DOT_THUMB2_ROUND8("r8", "r9")
                     DOT_THUMB2_ROUND8("r10", "r11")
                     DOT_THUMB2_LEAVE(DOT_THUMB2_BACK8));
}

/* clang-format on */

/* z[n] from columns 0 1 2 3 ... to 0 2 1 3 ..., or back. */
static VG_APART void dot_dsp_exchange(const void *z, uint32_t n)
{
    uint32_t a, b, c;

    for (; n; n -= 4)
        __asm__ volatile("ldrd %[a], %[b], [%[z]]\n\t"
                         "pkhbt %[c], %[a], %[b], lsl #16\n\t"
                         "pkhtb %[b], %[b], %[a], asr #16\n\t"
                         "strd %[c], %[b], [%[z]], #8"
                         : [z] "+r"(z), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c)
                         :
                         : "memory");
}

static VG_APART void dot_dsp_paired8(const dot_gates *g, int16_t *a)
{
    dot_dsp_exchange(g->map.z, g->map.stride);
    dot_dsp_rows8(g, a);
    dot_dsp_exchange(g->map.z, g->map.stride);
}

#endif
