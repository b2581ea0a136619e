/* dot_mul_words16.h - maps in words on Thumb-2 without the DSP extension
 * (Cortex-M3): no weight is unpacked, for BLOB.md says how a row's sum comes of
 * two sums of products with words.  Naked functions, for the inner loops need
 * all fourteen registers.
 */
#ifndef VG_DOT_MUL_WORDS16_H
#define VG_DOT_MUL_WORDS16_H

#include "dot_c.h"

/* What a kernel keeps on the stack: z and where the first turn of the loop
 * starts, for its last columns are what is left of whole turns; then what was
 * pushed, and the arguments from the fifth on. */
#define DOT_MUL_Z "[sp]"
#define DOT_MUL_Z_END "[sp, #8]"
#define DOT_MUL_A "[sp, #48]"     /* and the end of a */
#define DOT_MUL_B "[sp, #56]"     /* and bytes to the next ones */
#define DOT_MUL_SHIFT "[sp, #64]" /* and 32 - shift */
#define DOT_MUL_START "[sp, #72]" /* int64 */

#define DOT_MUL_BEGIN                                                          \
    "push {r1-r11, lr}\n\t"                                                    \
    "adr.w r5, 3f\n\t"                                                         \
    "sub r5, r2\n\t"                                                           \
    "str r5, [sp, #4]\n"                                                       \
    "1:\n\t"                                                                   \
    "ldrd r1, r2, " DOT_MUL_Z "\n\t"

/* r10, r11 += W z and r12, lr += (W >> 16) z.  Every instruction has four bytes
 * here. */
#define DOT_MUL_WORD16(w, z)                                                   \
    "smlal r10, r11, " w ", " z "\n\t"                                         \
    "asr.w " w ", " w ", #16\n\t"                                              \
    "smlal r12, lr, " w ", " z "\n\t"
#define DOT_MUL_FOUR16                                                         \
    "ldm.w r0!, {r2-r5}\n\t"                                                   \
    "ldm.w r1!, {r6-r9}\n\t" DOT_MUL_WORD16("r2", "r6")                        \
        DOT_MUL_WORD16("r3", "r7") DOT_MUL_WORD16("r4", "r8")                  \
            DOT_MUL_WORD16("r5", "r9")
enum { DOT_MUL_FOUR16_BYTES = 14 * 4 };

/* The first row has 2^16 times the second, too. */
#define DOT_MUL_APART16                                                        \
    "lsl r3, lr, #16\n\t"                                                      \
    "orr r3, r3, r12, lsr #16\n\t"                                             \
    "subs r10, r10, r12, lsl #16\n\t"                                          \
    "sbc r11, r3\n\t"

/* sat16 of the sum rounded by r2: what LSRS shifts out last is carried. */
#define DOT_MUL_ROUND(low, high)                                               \
    "lsrs " low ", " low ", r2\n\t"                                            \
    "lsl " high ", " high ", r3\n\t"                                           \
    "adc " low ", " low ", " high "\n\t"                                       \
    "ssat " low ", #16, " low "\n\t"                                           \
    "strh " low ", [r4], #2\n\t"

#define DOT_MUL_IS(type, name) type name __attribute__((unused))

/* sum[2] += what a group gives with z[n]; z_end: the end of z. */
static __attribute__((naked, noinline)) void
dot_mul_group16(DOT_MUL_IS(const uint32_t *, w), DOT_MUL_IS(const int32_t *, z),
                DOT_MUL_IS(const int32_t *, z_end), DOT_MUL_IS(int64_t *, sum))
{
    __asm__ volatile("push {r2-r11, lr}\n\t"
                     "ldr r4, [r1, #-4]\n\t"
                     "movw r5, #32768\n\t"
                     "negs r5, r5\n\t"
                     "smull r10, r11, r4, r5\n\t"
                     "mov r12, #0\n\t"
                     "mov lr, #0\n"
                     "2:\n\t" DOT_MUL_FOUR16 "ldr r2, [sp]\n\t"
                     "cmp r1, r2\n\t"
                     "bne.w 2b\n\t" DOT_MUL_APART16 "ldr r4, [sp, #4]\n\t"
                     "ldm r4, {r2, r3, r5, r6}\n\t"
                     "adds r2, r10\n\t"
                     "adc r3, r11\n\t"
                     "adds r5, r12\n\t"
                     "adc r6, lr\n\t"
                     "stm r4, {r2, r3, r5, r6}\n\t"
                     "add sp, #8\n\t"
                     "pop {r4-r11, pc}");
}

/* The results of groups from w on, up to a_end.  first: bytes of code of the
 * first turn; start: -2^15 sum z. */
static __attribute__((naked, noinline)) void
dot_mul_groups16(DOT_MUL_IS(const uint32_t *, w),
                 DOT_MUL_IS(const int32_t *, z), DOT_MUL_IS(uint32_t, first),
                 DOT_MUL_IS(const int32_t *, z_end), DOT_MUL_IS(void *, a),
                 DOT_MUL_IS(const void *, a_end),
                 DOT_MUL_IS(const int32_t *, b), DOT_MUL_IS(uint32_t, b_step),
                 DOT_MUL_IS(int32_t, shift), DOT_MUL_IS(int32_t, rest),
                 DOT_MUL_IS(int64_t, start))
{
    __asm__ volatile(
        DOT_MUL_BEGIN
        "ldrd r10, r11, " DOT_MUL_START "\n\t"
        "mov r12, #0\n\t"
        "mov lr, #0\n\t"
        "mov pc, r2\n"
        "2:\n\t" DOT_MUL_FOUR16 DOT_MUL_FOUR16 DOT_MUL_FOUR16 DOT_MUL_FOUR16
        "3:\n\t"
        "ldr r2, " DOT_MUL_Z_END "\n\t"
        "cmp r1, r2\n\t"
        "bne.w 2b\n\t" DOT_MUL_APART16 "ldrd r6, r7, " DOT_MUL_B "\n\t"
        "ldrd r2, r3, [r6]\n\t"
        "add r6, r7\n\t"
        "str r6, " DOT_MUL_B "\n\t"
        "adds r10, r2\n\t"
        "adc r11, r11, r2, asr #31\n\t"
        "adds r12, r3\n\t"
        "adc lr, lr, r3, asr #31\n\t"
        "ldrd r2, r3, " DOT_MUL_SHIFT "\n\t"
        "ldrd r4, r5, " DOT_MUL_A "\n\t" DOT_MUL_ROUND("r10", "r11")
            DOT_MUL_ROUND("r12", "lr") "str r4, " DOT_MUL_A "\n\t"
                                       "cmp r4, r5\n\t"
                                       "bne.w 1b\n\t"
                                       "add sp, #12\n\t"
                                       "pop {r4-r11, pc}");
}

static const int32_t dot_mul_none[4] = {0, 0, 0, 0};

static inline void dot_mul_words16(const uint32_t *w, const int32_t *z,
                                   uint32_t n, int64_t *sum)
{
    dot_mul_group16(w, z, z + n, sum);
}

/* |W z + b| <= (n + 2) 2^30, which must leave 32 bits when it is rounded. */
static inline uint32_t dot_mul_words_map16(const dot_map *m, int16_t *a)
{
    const int shift = m->exps[0] - m->arg_exp;
    const uint32_t n = m->stride, first = (n / 4 - 1) % 4 + 1;
    const uint32_t rows = m->rows & ~1u;
    const int32_t *z = m->z;

    if ((n + 2) >> shift > 1 || !rows)
        return 0;
    dot_mul_groups16(m->w, z, first * DOT_MUL_FOUR16_BYTES, z + n, a, a + rows,
                     m->b ? m->b : dot_mul_none, m->b ? 8 : 0, shift,
                     32 - shift, (int64_t)z[-1] * -32768);
    return rows;
}

#endif
