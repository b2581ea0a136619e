/* dot_mul_words8.h - maps in words of 8-bit weights on Thumb-2 without the DSP
 * extension: 512 columns of int8 times int16 sum up to less than 2^31, so that
 * MLA is enough.
 */
#ifndef VG_DOT_MUL_WORDS8_H
#define VG_DOT_MUL_WORDS8_H

#include "dot_mul_words16.h"

/* r8..r11 += (W >> 8 k) z.  Every instruction has four bytes here. */
#define DOT_MUL_WORD8(w, z)                                                    \
    "asr.w r1, " w ", #24\n\t"                                                 \
    "mla r11, r1, " z ", r11\n\t"                                              \
    "asr.w r1, " w ", #16\n\t"                                                 \
    "mla r10, r1, " z ", r10\n\t"                                              \
    "asr.w r1, " w ", #8\n\t"                                                  \
    "mla r9, r1, " z ", r9\n\t"                                                \
    "mla r8, " w ", " z ", r8\n\t"
#define DOT_MUL_FOUR8                                                          \
    "ldm.w r0!, {r2-r5}\n\t"                                                   \
    "ldrd r6, r7, [r12], #8\n\t" DOT_MUL_WORD8("r2", "r6") DOT_MUL_WORD8(      \
        "r3", "r7") "ldrd r6, r7, [r12], #8\n\t" DOT_MUL_WORD8("r4", "r6")     \
        DOT_MUL_WORD8("r5", "r7")

/* What the sums start from, for each to be a row's when 2^8 times the next one
 * are taken away. */
#define DOT_MUL_START8                                                         \
    "ldr r10, [r12, #-4]\n\t"                                                  \
    "lsl r10, r10, #7\n\t"                                                     \
    "rsb r10, r10, #0\n\t"                                                     \
    "add r9, r10, r10, lsl #8\n\t"                                             \
    "add r8, r10, r9, lsl #8\n\t"                                              \
    "mov r11, #0\n\t"
#define DOT_MUL_APART8                                                         \
    "sub r8, r8, r9, lsl #8\n\t"                                               \
    "sub r9, r9, r10, lsl #8\n\t"                                              \
    "sub r10, r10, r11, lsl #8\n\t"

#define DOT_MUL_SUM8(sum)                                                      \
    "ldrd r2, r3, [r7]\n\t"                                                    \
    "adds r2, " sum "\n\t"                                                     \
    "adc r3, r3, " sum ", asr #31\n\t"                                         \
    "strd r2, r3, [r7], #8\n\t"

/* sum[4] += what a group gives with z. */
static VG_NAKED void dot_mul_group8(VG_UNUSED(const uint32_t *, w),
                                    VG_UNUSED(const int32_t *, z),
                                    VG_UNUSED(const int32_t *, z_end),
                                    VG_UNUSED(int64_t *, sum))
{
    __asm__ volatile("push {r3-r11, lr}\n\t"
                     "mov r12, r1\n\t"
                     "mov lr, r2\n\t" DOT_MUL_START8 "2:\n\t" DOT_MUL_FOUR8
                     "cmp r12, lr\n\t"
                     "bne.w 2b\n\t" DOT_MUL_APART8 "ldr r7, [sp]\n\t" /**/
                     DOT_MUL_SUM8("r8") DOT_MUL_SUM8("r9") DOT_MUL_SUM8("r10")
                         DOT_MUL_SUM8("r11") "add sp, #4\n\t"
                                             "pop {r4-r11, pc}");
}

/* A row whose bias is b: exponent at r1, arg_exp in r4.  What leaves 32 bits
 * with its bias is halved, and rounded by one bit less.  What ASRS shifts out
 * last is carried. */
#define DOT_MUL_ROW8(sum, b)                                                   \
    "adds " sum ", " b "\n\t"                                                  \
    "ldrb " b ", [r1], #1\n\t"                                                 \
    "sub " b ", " b ", r4\n\t"                                                 \
    "bvc 4f\n\t"                                                               \
    "rrx " sum ", " sum "\n\t"                                                 \
    "sub " b ", " b ", #1\n"                                                   \
    "4:\n\t"                                                                   \
    "asrs " sum ", " b "\n\t"                                                  \
    "adc " sum ", " sum ", #0\n\t"                                             \
    "ssat " sum ", #16, " sum "\n\t"                                           \
    "strh " sum ", [r2], #2\n\t"

/* The results of a map's whole groups.  On the stack is what one begins with
 * and, up to r6, is rounded with:
 *
 *      0 exps, a, b                    24 what the sums start from
 *     12 arg_exp                       40 z
 *     16 bytes between two b           44 where the first turn of the loop
 *     20 a's end                          starts: it may be half a turn
 *
 * lr is the end of z. */
static VG_NAKED void dot_mul_groups8(VG_UNUSED(const dot_map *, m),
                                     VG_UNUSED(int16_t *, a))
{
    __asm__ volatile(
        "push {r4-r11, lr}\n\t"
        "sub sp, #48\n\t"
        "mov r2, r1\n\t"
        "ldm r0, {r0, r3-r8}\n\t"
        "mov r12, r5\n\t"
        "add lr, r12, r7, lsl #2\n\t"
        "bic r6, r6, #3\n\t"
        "add r6, r2, r6, lsl #1\n\t"
        "mov r1, r4\n\t"
        "mov r4, r8\n\t"
        "adr.w r8, 2f + 1\n\t"
        "str r8, [sp, #44]\n\t"
        "lsls r7, r7, #29\n\t"
        "bpl 5f\n\t"
        "adr.w r8, 3f + 1\n\t"
        "str r8, [sp, #44]\n"
        "5:\n\t"
        "movs r5, #16\n\t"
        "cbnz r3, 6f\n\t"
        "movs r5, #0\n\t"
        "adr.w r3, 7f\n"
        "6:\n\t" DOT_MUL_START8 "add r7, sp, #24\n\t"
        "stm r7, {r8-r12}\n\t"
        "stm sp, {r1-r6}\n"
        "1:\n\t"
        "ldm sp, {r1-r6, r8-r12, pc}\n"
        "2:\n\t" DOT_MUL_FOUR8 "3:\n\t" DOT_MUL_FOUR8 "cmp r12, lr\n\t"
        "bne.w 2b\n\t" DOT_MUL_APART8 "ldm sp, {r1-r6}\n\t"
        "ldrd r7, r12, [r3]\n\t" DOT_MUL_ROW8("r8", "r7") DOT_MUL_ROW8(
            "r9", "r12") "ldrd r7, r12, [r3, #8]\n\t" DOT_MUL_ROW8("r10", "r7")
            DOT_MUL_ROW8("r11", "r12") "add r3, r5\n\t"
                                       "stm sp, {r1-r3}\n\t"
                                       "cmp r2, r6\n\t"
                                       "bne.w 1b\n\t"
                                       "add sp, #48\n\t"
                                       "pop {r4-r11, pc}\n\t"
                                       ".balign 4\n"
                                       "7:\n\t"
                                       ".word 0, 0, 0, 0");
}

static inline void dot_mul_words8(const uint32_t *w, const int32_t *z,
                                  uint32_t n, int64_t *sum)
{
    dot_mul_group8(w, z, z + n, sum);
}

static inline uint32_t dot_mul_words_map8(const dot_map *m, int16_t *a)
{
    const uint32_t rows = m->rows & ~3u;

    if (rows)
        dot_mul_groups8(m, a);
    return rows;
}

#endif
