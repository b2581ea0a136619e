/* dot_thumb2_rows.h - the frame of kernels that take whole maps, two rows at
 * a time, on Thumb-2.  They are naked, for the inner loops need all
 * fourteen registers:
 *
 *     r0 z   r1-r7 data   r8, r9 and r10, r11 the two sums   r12, lr the rows
 *
 * On the stack, and between two pairs of rows in r0-r7 and r12:
 *
 *      0 z, its end                       40 where a row starts, and where it
 *      8 bytes of a row                      goes on after odd columns
 *     12 b - scale a, and the scale, 2    48 the last of arg_exps[], and the
 *        or, for zeros instead of b, 0       bytes of a map's a
 *     20 a                                56 from arg_exps[] to exps[]
 *     24 shift, 32 - shift
 *        or exps, arg_exp
 *     32 a's even end, its end
 */
#ifndef VG_DOT_THUMB2_ROWS_H
#define VG_DOT_THUMB2_ROWS_H

#include "dot_c.h"

/* clang-format off */

/* From dot_gates *r0 and a = r1 to all that does not depend on the weights'
 * bits; r4 exps and r7 columns stay.  size: log2 of a weight's bytes. */
#define DOT_THUMB2_ENTER(size)                                                 \
    "push {r4-r11, lr}\n\t"                                                    \
    "sub sp, #60\n\t"                                                          \
    "ldm r0, {r2-r7}\n\t"                                                      \
    "mov lr, r2\n\t"                                                           \
    "adds r0, #28\n\t"                                                         \
    "lsls r6, r6, #1\n\t"                                                      \
    "strd r0, r6, [sp, #48]\n\t"                                               \
    "adds r0, #1\n\t"                                                          \
    "sub r8, r4, r0\n\t"                                                       \
    "str r8, [sp, #56]\n\t"                                                    \
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

/* The next map; given: what to do with its arg_exp, r7.  Then two rows of it,
 * from their biases to their sums. */
#define DOT_THUMB2_TWO_ROWS(given, odd, turn, at_end)                          \
    "ldm sp, {r0-r5}\n"                                                        \
    "6:\n\t"                                                                   \
    "ldr r6, [sp, #48]\n\t"                                                    \
    "ldrb r7, [r6, #1]!\n\t"                                                   \
    "cmp r7, #255\n\t"                                                         \
    "beq.w 9f\n\t"                                                             \
    "str r6, [sp, #48]\n\t" given                                              \
    "ldr r6, [sp, #52]\n\t"                                                    \
    "adds r7, r5, r6\n\t"                                                      \
    "bic r6, r6, #2\n\t"                                                       \
    "adds r6, r6, r5\n\t"                                                      \
    "strd r6, r7, [sp, #32]\n"                                                 \
    "2:\n\t"                                                                   \
    "mla r6, r4, r5, r3\n\t"                                                   \
    "ldrd r8, r10, [r6]\n\t"                                                   \
    "asr r9, r8, #31\n\t"                                                      \
    "asr r11, r10, #31\n\t"                                                    \
    "mov r12, lr\n\t"                                                          \
    "add lr, lr, r2\n\t"                                                       \
    "ldr pc, [sp, #40]\n"                                                      \
    odd                                                                        \
    "4:\n\t" turn "5:\n\t"                                                     \
    at_end "bne.w 4b\n\t"                                                      \
    "ldm.w sp, {r0-r7, r12}\n\t"

/* sat16 of a sum shifted to the right; left: 32 less that.  What LSRS shifts
 * out last is carried. */
#define DOT_THUMB2_ROUND(low, high, right, left)                               \
    "lsrs " low ", " low ", " right "\n\t"                                     \
    "lsl " high ", " high ", " left "\n\t" DOT_THUMB2_STORE(low, high)
#define DOT_THUMB2_STORE(low, high)                                            \
    "adc " low ", " low ", " high "\n\t"                                       \
    "ssat " low ", #16, " low "\n\t"                                           \
    "strh " low ", [r5], #2\n\t"

/* The same of a row of 8 bits, whose exponent is at r6, arg_exp in r7.  r1 is
 * lost. */
#define DOT_THUMB2_ROUND8(low, high)                                           \
    "ldrb r1, [r6], #1\n\t"                                                    \
    "sub r1, r1, r7\n\t"                                                       \
    "lsrs " low ", " low ", r1\n\t"                                            \
    "rsb r1, r1, #32\n\t"                                                      \
    "lsl " high ", " high ", r1\n\t" DOT_THUMB2_STORE(low, high)
#define DOT_THUMB2_BACK8 "subs r6, #1\n\t"

/* The next two.  After an even end the last one, with the one before it again;
 * back: what else goes back a row.  Returns r7. */
#define DOT_THUMB2_LEAVE(back)                                                 \
    "strd r5, r6, [sp, #20]\n\t"                                               \
    "cmp r5, r12\n\t"                                                          \
    "bne.w 2b\n\t"                                                             \
    "ldr r7, [sp, #36]\n\t"                                                    \
    "cmp r5, r7\n\t"                                                           \
    "beq.w 6b\n\t"                                                             \
    "subs r5, r5, #2\n\t" back                                                 \
    "strd r5, r6, [sp, #20]\n\t"                                               \
    "str r7, [sp, #32]\n\t"                                                    \
    "sub lr, lr, r2\n\t"                                                       \
    "b.w 2b\n"                                                                 \
    "9:\n\t"                                                                   \
    "mov r0, r7\n\t"                                                           \
    "add sp, #60\n\t"                                                          \
    "pop {r4-r11, pc}\n\t"                                                     \
    ".balign 4\n"                                                              \
    "7:\n\t"                                                                   \
    ".word 0, 0"

/* Of 16 bits: the shift.  Ends where what is rounded leaves 32 bits, for |b| <=
 * 2 2^30 and |w z| < 2^30. */
#define DOT_THUMB2_SHIFT16                                                     \
    "ldr r8, [sp, #56]\n\t"                                                    \
    "ldrb r8, [r6, r8]\n\t"                                                    \
    "subs r7, r8, r7\n\t"                                                      \
    "add r8, r2, #4\n\t"                                                       \
    "lsr r8, r8, r7\n\t"                                                       \
    "cmp r8, #3\n\t"                                                           \
    "bhi.w 9f\n\t"                                                             \
    "rsb r8, r7, #32\n\t"                                                      \
    "strd r7, r8, [sp, #24]\n\t"

/* Of 8 bits: arg_exp. */
#define DOT_THUMB2_EXP8 "str r7, [sp, #28]\n\t"

/* clang-format on */

/* Behind arg_exps[], and what a kernel returns when it is done. */
enum { DOT_THUMB2_END = 255 };

/* By the kernel if it takes them, else by the other function.  One row alone
 * has no second one. */
#define DOT_THUMB2_GATES16(kernel, other, g, a)                                \
    do {                                                                       \
        (g)->arg_exps[(g)->n] = DOT_THUMB2_END;                                \
        if ((g)->map.rows < 2 || kernel(g, a) != DOT_THUMB2_END)               \
            other(g, a);                                                       \
    } while (0)

/* |w z| <= 2^22 and every shift is at least 1, as above. */
#define DOT_THUMB2_GATES8(kernel, other, g, a)                                 \
    do {                                                                       \
        if ((g)->map.stride <= 512 && (g)->map.rows > 1) {                     \
            (g)->arg_exps[(g)->n] = DOT_THUMB2_END;                            \
            kernel(g, a);                                                      \
        } else {                                                               \
            other(g, a);                                                       \
        }                                                                      \
    } while (0)

#endif
