/* dot_dsp_rows16.h - whole maps of 16 bits, in the frame of dot_thumb2_rows.h.
 */
#ifndef VG_DOT_DSP_ROWS16_H
#define VG_DOT_DSP_ROWS16_H

#include "dot_dsp.h"
#include "dot_thumb2_rows.h"

/* clang-format off */

/* Six columns of both rows, in nine instructions of four bytes, and the two or
 * four that are left over.  A turn is eight of them, or one where size counts;
 * DOT_DSP_16_MASK is how many less one. */
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
    "ldr pc, [sp, #44]\n"                                                      \
    "3:\n\t"                                                                   \
    "ldrd r2, r3, [r0], #8\n\t"                                                \
    "ldrd r5, r6, [r12], #8\n\t"                                               \
    "smlald r8, r9, r5, r2\n\t"                                                \
    "smlald r8, r9, r6, r3\n\t"                                                \
    "ldrd r5, r6, [lr], #8\n\t"                                                \
    "smlald r10, r11, r5, r2\n\t"                                              \
    "smlald r10, r11, r6, r3\n\t"                                              \
    "ldr pc, [sp, #44]\n"

#ifdef __OPTIMIZE_SIZE__
#define DOT_DSP_16_TURN DOT_DSP_16_SIX
#define DOT_DSP_16_MASK "#0"
#else
#define DOT_DSP_16_TURN                                                        \
    DOT_DSP_16_SIX DOT_DSP_16_SIX DOT_DSP_16_SIX DOT_DSP_16_SIX                \
    DOT_DSP_16_SIX DOT_DSP_16_SIX DOT_DSP_16_SIX DOT_DSP_16_SIX
#define DOT_DSP_16_MASK "#7"
#endif

static VG_NAKED uint32_t
dot_dsp_rows16(VG_UNUSED(const dot_gates *, g),
               VG_UNUSED(int16_t *, a))
{
    __asm__ volatile(DOT_THUMB2_ENTER("1")
                     "lsrs r7, r7, #1\n\t"
                     "movs r3, #3\n\t"
                     "udiv r2, r7, r3\n\t"
                     "mls r3, r2, r3, r7\n\t"
                     "and r2, r2, " DOT_DSP_16_MASK "\n\t"
                     "adr.w r4, 5f + 1\n\t"
                     "movs r5, #36\n\t"
                     "mls r4, r5, r2, r4\n\t"
                     "mov r5, r4\n\t"
                     "cmp r3, #1\n\t"
                     "it eq\n\t"
                     "adreq.w r4, 8f + 1\n\t"
                     "it hi\n\t"
                     "adrhi.w r4, 3f + 1\n\t"
                     "strd r4, r5, [sp, #40]\n\t"
                     DOT_THUMB2_TWO_ROWS(DOT_THUMB2_SHIFT16, DOT_DSP_16_ODD,
                                      DOT_DSP_16_TURN,
                                      "cmp r0, r1\n\t")
                     DOT_THUMB2_ROUND("r8", "r9", "r6", "r7")
                     DOT_THUMB2_ROUND("r10", "r11", "r6", "r7")
                     DOT_THUMB2_LEAVE(""));
}

/* clang-format on */

#endif
