/* m0_frame.h - the begin and the end of a naked function that needs all
 * registers, in Thumb-1: 36 bytes of stack.
 */
#ifndef VG_M0_FRAME_H
#define VG_M0_FRAME_H

/* clang-format off */

#define M0_ENTER                                                               \
    ".syntax unified\n\t"                                                      \
    "push {r4-r7, lr}\n\t"                                                     \
    "mov r4, r8\n\t"                                                           \
    "mov r5, r9\n\t"                                                           \
    "mov r6, r10\n\t"                                                          \
    "mov r7, r11\n\t"                                                          \
    "push {r4-r7}\n\t"
#define M0_LEAVE                                                               \
    "pop {r4-r7}\n\t"                                                          \
    "mov r8, r4\n\t"                                                           \
    "mov r9, r5\n\t"                                                           \
    "mov r10, r6\n\t"                                                          \
    "mov r11, r7\n\t"                                                          \
    "pop {r4-r7, pc}"

/* clang-format on */

#endif
