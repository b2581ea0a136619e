/* dot_time_row_m0.h - Cortex-M0: a multiplication gives the lower 32 bits.
 * Sums of e z modulo 2^32 and of high z: what the lows give is the difference,
 * for it fits (dot_time_piece.h).  A naked function, for the inner loop needs
 * all registers:
 *
 *     r0 errors   r1 z   r2-r7 data   r8, r9 the sums of e z and high z
 *     r10 where the inner loop starts   r11, r12 the end of g, and g
 *
 * On the stack e and high of each step, and half, bytes of z from the end of a
 * column to the next, and exp - 12.
 */
#ifndef VG_DOT_TIME_ROW_M0_H
#define VG_DOT_TIME_ROW_M0_H

#include "dot_time_c.h"
#include "fx.h"
#include "m0_frame.h"

/* clang-format off */

/* Two steps: 24 bytes of code. */
#define DOT_TIME_M0_TWO                                                        \
    "ldmia r0!, {r2-r5}\n\t"                                                   \
    "ldmia r1!, {r6}\n\t"                                                      \
    "sxth r7, r6\n\t"                                                          \
    "asrs r6, r6, #16\n\t"                                                     \
    "muls r2, r7\n\t"                                                          \
    "muls r3, r7\n\t"                                                          \
    "muls r4, r6\n\t"                                                          \
    "muls r5, r6\n\t"                                                          \
    "add r8, r2\n\t"                                                           \
    "add r9, r3\n\t"                                                           \
    "add r8, r4\n\t"                                                           \
    "add r9, r5\n\t"
#define DOT_TIME_M0_FOUR DOT_TIME_M0_TWO DOT_TIME_M0_TWO

/* From dot_row *r0 on.  sources: what may change z in r3, columns in r6 and
 * makes of apart in r4 the bytes of z from the end of a column to the next;
 * bytes of code for one step, and code for four. */
#define DOT_TIME_M0_ROW(sources, bytes, four)                                  \
    M0_ENTER                                                                   \
    "sub sp, #140\n\t"                                                         \
    "ldmia r0!, {r1-r7}\n\t"                                                   \
    sources                                                                    \
    "mov r12, r5\n\t"                                                          \
    "lsls r6, r6, #2\n\t"                                                      \
    "adds r6, r6, r5\n\t"                                                      \
    "mov r11, r6\n\t"                                                          \
    "movs r6, #" bytes "\n\t"                                                  \
    "muls r6, r2\n\t"                                                          \
    "adr r0, 3f\n\t"                                                           \
    "subs r0, r0, r6\n\t"                                                      \
    "adds r0, #1\n\t"                                                          \
    "mov r10, r0\n\t"                                                          \
    "movs r6, #1\n\t"                                                          \
    "lsls r6, r7\n\t"                                                          \
    "lsrs r6, r6, #1\n\t"                                                      \
    "mov r8, r6\n\t"                                                           \
    "subs r7, #12\n\t"                                                         \
    "mov r5, sp\n"                                                             \
    "1:\n\t"                                                                   \
    "ldmia r1!, {r0}\n\t"                                                      \
    "asrs r6, r0, #12\n\t"                                                     \
    "stmia r5!, {r0, r6}\n\t"                                                  \
    "subs r2, #1\n\t"                                                          \
    "bne 1b\n\t"                                                               \
    "mov r2, r8\n\t"                                                           \
    "stmia r5!, {r2, r4, r7}\n\t"                                              \
    "mov r1, r3\n\t"                                                           \
    "mov r4, r2\n"                                                             \
    "2:\n\t"                                                                   \
    "mov r8, r4\n\t"                                                           \
    "movs r2, #0\n\t"                                                          \
    "mov r9, r2\n\t"                                                           \
    "mov r0, sp\n\t"                                                           \
    "bx r10\n\t"                                                               \
    ".balign 4\n\t"                                                            \
    four four four four                                                        \
    "3:\n\t"                                                                   \
    "ldmia r0!, {r4-r6}\n\t"                                                   \
    "mov r2, r8\n\t"                                                           \
    "mov r3, r9\n\t"                                                           \
    "lsls r7, r3, #12\n\t"                                                     \
    "subs r2, r2, r7\n\t"                                                      \
    "asrs r2, r2, #12\n\t"                                                     \
    "adds r2, r2, r3\n\t"                                                      \
    "asrs r2, r6\n\t"                                                          \
    "mov r7, r12\n\t"                                                          \
    "stmia r7!, {r2}\n\t"                                                      \
    "mov r12, r7\n\t"                                                          \
    "adds r1, r1, r5\n\t"                                                      \
    "cmp r7, r11\n\t"                                                          \
    "bne 2b\n\t"                                                               \
    "add sp, #140\n\t"                                                         \
    M0_LEAVE

/* n is even, 2 to 16, and a source lies at a word; exp is 12 or more. */
static VG_NAKED void
dot_time_row_m0(VG_UNUSED(const dot_row *, r))
{
    __asm__ volatile(
        DOT_TIME_M0_ROW("subs r4, r4, r2\n\t"
                        "lsls r4, r4, #1\n\t",
                        "12", DOT_TIME_M0_FOUR));
}

/* clang-format on */

#endif
