/* dot_dsp_four.h - cores with the DSP extension: four products of two columns,
 * by SMLAD, with numbers that are cut into halves.
 *
 *     r0 halves: two lows, two highs, and so on   r1 four of one column, then
 *     four of the other   r2-r7, r12, lr data   r8, r9 the sums of the lows and
 *     the highs of one column, r10, r11 of the other
 *
 * 40 bytes of code.
 */
#ifndef VG_DOT_DSP_FOUR_H
#define VG_DOT_DSP_FOUR_H

#define DOT_DSP_FOUR                                                           \
    "ldm.w r0!, {r4-r7}\n\t"                                                   \
    "ldm.w r1!, {r2, r3, r12, lr}\n\t"                                         \
    "smlad r8, r4, r2, r8\n\t"                                                 \
    "smlad r9, r5, r2, r9\n\t"                                                 \
    "smlad r8, r6, r3, r8\n\t"                                                 \
    "smlad r9, r7, r3, r9\n\t"                                                 \
    "smlad r10, r4, r12, r10\n\t"                                              \
    "smlad r11, r5, r12, r11\n\t"                                              \
    "smlad r10, r6, lr, r10\n\t"                                               \
    "smlad r11, r7, lr, r11\n\t"

#endif
