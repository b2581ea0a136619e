/* dot_time_row.h - what the kernels of a whole row have in common on Thumb-2:
 * two columns at a time.  Naked functions, for the inner loop needs all
 * fourteen registers:
 *
 *     r0 e   r1, r2 sources of the two columns   r3 g   r4-r9 data
 *     r10, r11 and r12, lr low and high of the two sums
 *
 * On the stack:
 *
 *     0 half, 0: a sum starts from them      24 where two columns start: at
 *     8 shift, g of the last two columns        the odd steps, or at the fours
 *    16 e, bytes of z from the end of two    28 where they go on with fours
 *       columns to the next two              32 bytes of a column
 */
#ifndef VG_DOT_TIME_ROW_H
#define VG_DOT_TIME_ROW_H

#include "dot_time_c.h"
#include "fx.h"

/* clang-format off */

/* From dot_row *r0 to all that.  prepare may change e in r0 and exp in r6, of
 * which start 2^r6 / 2 is half; odd, four: bytes of code for one and four
 * steps. */
#define DOT_TIME_ROW_ENTER(room, prepare, start, odd, four)                    \
    "push {r4-r11, lr}\n\t"                                                    \
    "sub sp, #" room "\n\t"                                                    \
    "ldm r0, {r0-r6}\n\t"                                                      \
    prepare                                                                    \
    "lsls r7, r3, #1\n\t"                                                      \
    "str r7, [sp, #32]\n\t"                                                    \
    "add r12, r2, r7\n\t"                                                      \
    "subs r3, r7, r1\n\t"                                                      \
    "lsls r3, r3, #1\n\t"                                                      \
    "strd r0, r3, [sp, #16]\n\t"                                               \
    "add r5, r4, r5, lsl #2\n\t"                                               \
    "subs r5, #8\n\t"                                                          \
    "strd r6, r5, [sp, #8]\n\t"                                                \
    "mov r5, #" start "\n\t"                                                   \
    "lsls r5, r6\n\t"                                                          \
    "lsrs r5, r5, #1\n\t"                                                      \
    "movs r6, #0\n\t"                                                          \
    "strd r5, r6, [sp]\n\t"                                                    \
    "movs r5, #" four "\n\t"                                                   \
    "lsrs r6, r1, #2\n\t"                                                      \
    "adr.w r7, 5f + 1\n\t"                                                     \
    "mls r7, r5, r6, r7\n\t"                                                   \
    "movs r5, #" odd "\n\t"                                                    \
    "adr.w r6, 3f + 1\n\t"                                                     \
    "ands r1, r1, #3\n\t"                                                      \
    "mls r6, r5, r1, r6\n\t"                                                   \
    "it eq\n\t"                                                                \
    "moveq r6, r7\n\t"                                                         \
    "strd r6, r7, [sp, #24]\n\t"                                               \
    "mov r1, r2\n\t"                                                           \
    "mov r2, r12\n\t"                                                          \
    "mov r3, r4\n"

/* Two columns and the next ones.  round: from the sums and the shift r4 to
 * their gradients r11 and lr.  After the last two but one a last one, with the
 * one before it again. */
#define DOT_TIME_ROW_COLUMNS(room, odd, four, round)                           \
    "2:\n\t"                                                                   \
    "ldrd r10, r11, [sp]\n\t"                                                  \
    "ldrd r12, lr, [sp]\n\t"                                                   \
    "ldr pc, [sp, #24]\n\t"                                                    \
    odd                                                                        \
    "3:\n\t"                                                                   \
    "ldr pc, [sp, #28]\n\t"                                                    \
    four four four four                                                        \
    "5:\n\t"                                                                   \
    "ldrd r4, r5, [sp, #8]\n\t"                                                \
    "ldrd r0, r6, [sp, #16]\n\t"                                               \
    round                                                                      \
    "strd r11, lr, [r3], #8\n\t"                                               \
    "add r1, r6\n\t"                                                           \
    "add r2, r6\n\t"                                                           \
    "cmp r3, r5\n\t"                                                           \
    "bls.w 2b\n\t"                                                             \
    "subs r3, #4\n\t"                                                          \
    "cmp r3, r5\n\t"                                                           \
    "bne 6f\n\t"                                                               \
    "ldr r4, [sp, #32]\n\t"                                                    \
    "subs r1, r1, r4\n\t"                                                      \
    "subs r2, r2, r4\n\t"                                                      \
    "b.w 2b\n"                                                                 \
    "6:\n\t"                                                                   \
    "add sp, #" room "\n\t"                                                    \
    "pop {r4-r11, pc}"

/* clang-format on */

#endif
