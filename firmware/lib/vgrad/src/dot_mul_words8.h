/* dot_mul_words8.h - maps in words of 8-bit weights on Thumb-2 without the DSP
 * extension: 512 columns of int8 times int16 sum up to less than 2^31, so that
 * MLA is enough.
 */
#ifndef VG_DOT_MUL_WORDS8_H
#define VG_DOT_MUL_WORDS8_H

#include "dot_mul_words16.h"

/* r8..r11 += (W >> 8 k) z.  Every instruction has four bytes here. */
#define DOT_MUL_WORD8(w, z)                                                    \
    "asr.w r12, " w ", #24\n\t"                                                \
    "mla r11, r12, " z ", r11\n\t"                                             \
    "asr.w r12, " w ", #16\n\t"                                                \
    "mla r10, r12, " z ", r10\n\t"                                             \
    "asr.w r12, " w ", #8\n\t"                                                 \
    "mla r9, r12, " z ", r9\n\t"                                               \
    "mla r8, " w ", " z ", r8\n\t"
#define DOT_MUL_FOUR8                                                          \
    "ldm.w r0!, {r2-r5}\n\t"                                                   \
    "ldrd r6, r7, [r1], #8\n\t" DOT_MUL_WORD8("r2", "r6") DOT_MUL_WORD8(       \
        "r3", "r7") "ldrd r6, r7, [r1], #8\n\t" DOT_MUL_WORD8("r4", "r6")      \
        DOT_MUL_WORD8("r5", "r7")
enum { DOT_MUL_FOUR8_BYTES = 31 * 4 };

/* What the sums start from, for each to be a row's when 2^8 times the next one
 * are taken away. */
#define DOT_MUL_START8                                                         \
    "ldr r4, [r1, #-4]\n\t"                                                    \
    "lsl r4, r4, #7\n\t"                                                       \
    "rsb r10, r4, #0\n\t"                                                      \
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
static __attribute__((naked, noinline)) void
dot_mul_group8(DOT_MUL_IS(const uint32_t *, w), DOT_MUL_IS(const int32_t *, z),
               DOT_MUL_IS(const int32_t *, z_end), DOT_MUL_IS(int64_t *, sum))
{
    __asm__ volatile("push {r3-r11, lr}\n\t"
                     "mov lr, r2\n\t" DOT_MUL_START8 "2:\n\t" DOT_MUL_FOUR8
                     "cmp r1, lr\n\t"
                     "bne.w 2b\n\t" DOT_MUL_APART8 "ldr r7, [sp]\n\t" /**/
                     DOT_MUL_SUM8("r8") DOT_MUL_SUM8("r9") DOT_MUL_SUM8("r10")
                         DOT_MUL_SUM8("r11") "add sp, #4\n\t"
                                             "pop {r4-r11, pc}");
}

/* What a kernel keeps on the stack: z and where the first turn of the loop
 * starts, for its last columns are what is left of whole turns; then what was
 * pushed, and the arguments from the fifth on. */
#define DOT_MUL_Z "[sp]"
#define DOT_MUL_Z_END "[sp, #8]"
#define DOT_MUL_A "[sp, #48]" /* and the end of a */
#define DOT_MUL_B "[sp, #56]" /* and bytes to the next ones */

#define DOT_MUL_BEGIN                                                          \
    "push {r1-r11, lr}\n\t"                                                    \
    "adr.w r5, 3f\n\t"                                                         \
    "sub r5, r2\n\t"                                                           \
    "str r5, [sp, #4]\n"                                                       \
    "1:\n\t"                                                                   \
    "ldrd r1, r2, " DOT_MUL_Z "\n\t"

#define DOT_MUL_EXPS "[sp, #60]"
#define DOT_MUL_B_STEP "[sp, #64]"
#define DOT_MUL_ARG_EXP "[sp, #68]"

/* The bias b and r12 to 64 bits, then as above. */
#define DOT_MUL_ROW8(sum, b)                                                   \
    "asr r12, " sum ", #31\n\t"                                                \
    "adds " sum ", " b "\n\t"                                                  \
    "adc r12, r12, " b ", asr #31\n\t"                                         \
    "ldrb r5, [r7], #1\n\t"                                                    \
    "sub r5, r6\n\t"                                                           \
    "rsb " b ", r5, #32\n\t"                                                   \
    "lsrs " sum ", r5\n\t"                                                     \
    "lsl r12, " b "\n\t"                                                       \
    "adc " sum ", r12\n\t"                                                     \
    "ssat " sum ", #16, " sum "\n\t"                                           \
    "strh " sum ", [r4], #2\n\t"

static const int32_t dot_mul_none[4] = {0, 0, 0, 0};

/* The results of groups from w on, up to a_end.  first: bytes of code of the
 * first turn. */
static __attribute__((naked, noinline)) void
dot_mul_groups8(DOT_MUL_IS(const uint32_t *, w), DOT_MUL_IS(const int32_t *, z),
                DOT_MUL_IS(uint32_t, first), DOT_MUL_IS(const int32_t *, z_end),
                DOT_MUL_IS(int16_t *, a), DOT_MUL_IS(const int16_t *, a_end),
                DOT_MUL_IS(const int32_t *, b),
                DOT_MUL_IS(const uint8_t *, exps), DOT_MUL_IS(uint32_t, b_step),
                DOT_MUL_IS(int32_t, arg_exp))
{
    __asm__ volatile(
        DOT_MUL_BEGIN DOT_MUL_START8
        "ldr lr, " DOT_MUL_Z_END "\n\t"
        "mov pc, r2\n"
        "2:\n\t" DOT_MUL_FOUR8 DOT_MUL_FOUR8 "3:\n\t"
        "cmp r1, lr\n\t"
        "bne.w 2b\n\t" DOT_MUL_APART8 "ldrd r6, r7, " DOT_MUL_B "\n\t"
        "ldr r4, " DOT_MUL_A "\n\t"
        "ldm r6, {r1-r3, lr}\n\t"
        "ldr r5, " DOT_MUL_B_STEP "\n\t"
        "add r6, r5\n\t"
        "str r6, " DOT_MUL_B "\n\t"
        "ldr r6, " DOT_MUL_ARG_EXP "\n\t" /**/
        DOT_MUL_ROW8("r8", "r1") DOT_MUL_ROW8("r9", "r2")
            DOT_MUL_ROW8("r10", "r3") DOT_MUL_ROW8("r11", "lr") /**/
        "ldr r5, [sp, #52]\n\t"
        "str r7, " DOT_MUL_EXPS "\n\t"
        "str r4, " DOT_MUL_A "\n\t"
        "cmp r4, r5\n\t"
        "bne.w 1b\n\t"
        "add sp, #12\n\t"
        "pop {r4-r11, pc}");
}

static inline void dot_mul_words8(const uint32_t *w, const int32_t *z,
                                  uint32_t n, int64_t *sum)
{
    dot_mul_group8(w, z, z + n, sum);
}

/* |W z + b| < 2^32, so that a shift of 1 leaves 32 bits. */
static inline uint32_t dot_mul_words_map8(const dot_map *m, int16_t *a)
{
    const uint32_t n = m->stride, first = (n / 4 - 1) % 2 + 1;
    const uint32_t rows = m->rows & ~3u;
    const int32_t *z = m->z;

    if (rows)
        dot_mul_groups8(m->w, z, first * DOT_MUL_FOUR8_BYTES, z + n, a,
                        a + rows, m->b ? m->b : dot_mul_none, m->exps,
                        m->b ? 16 : 0, m->arg_exp);
    return rows;
}

#endif
