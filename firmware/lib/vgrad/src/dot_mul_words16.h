/* dot_mul_words16.h - maps in words on Thumb-2 without the DSP extension
 * (Cortex-M3): no weight is unpacked, for BLOB.md says how a row's sum comes of
 * two sums of products with words.  Naked functions, for the inner loops need
 * all fourteen registers.
 */
#ifndef VG_DOT_MUL_WORDS16_H
#define VG_DOT_MUL_WORDS16_H

#include "dot_c.h"

/* r9, r10 += W z and r11, r12 += (W >> 16) z.  Every instruction has four bytes
 * here. */
#define DOT_MUL_WORD16(w, z)                                                   \
    "smlal r9, r10, " w ", " z "\n\t"                                          \
    "asr.w " w ", " w ", #16\n\t"                                              \
    "smlal r11, r12, " w ", " z "\n\t"
#define DOT_MUL_FOUR16                                                         \
    "ldm.w r0!, {r2-r5}\n\t"                                                   \
    "ldm.w r1!, {r6-r8, lr}\n\t" DOT_MUL_WORD16("r2", "r6")                    \
        DOT_MUL_WORD16("r3", "r7") DOT_MUL_WORD16("r4", "r8")                  \
            DOT_MUL_WORD16("r5", "lr")

/* r9, r10 = -2^15 sum z, and r11, r12 = 0. */
#define DOT_MUL_START16                                                        \
    "ldr r9, [r1, #-4]\n\t"                                                    \
    "rsb r9, r9, #0\n\t"                                                       \
    "asr r10, r9, #17\n\t"                                                     \
    "lsl r9, r9, #15\n\t"                                                      \
    "mov r11, #0\n\t"                                                          \
    "mov r12, #0\n\t"

/* The first row has 2^16 times the second, too. */
#define DOT_MUL_APART16                                                        \
    "subs r9, r9, r11, lsl #16\n\t"                                            \
    "sbc r10, r10, r11, lsr #16\n\t"                                           \
    "sub r10, r10, r12, lsl #16\n\t"

/* sat16 of a sum and its bias b, rounded by r6; r7 is 32 less that.  What LSRS
 * shifts out last is carried. */
#define DOT_MUL_ROW16(low, high, b)                                            \
    "adds " low ", " b "\n\t"                                                  \
    "adc " high ", " high ", " b ", asr #31\n\t"                               \
    "lsrs " low ", " low ", r6\n\t"                                            \
    "lsl " high ", " high ", r7\n\t"                                           \
    "adc " low ", " low ", " high "\n\t"                                       \
    "ssat " low ", #16, " low "\n\t"                                           \
    "strh " low ", [r2], #2\n\t"

/* sum[2] += what a group gives with z[n]; z_end: the end of z. */
static VG_NAKED void dot_mul_group16(VG_UNUSED(const uint32_t *, w),
                                     VG_UNUSED(const int32_t *, z),
                                     VG_UNUSED(const int32_t *, z_end),
                                     VG_UNUSED(int64_t *, sum))
{
    __asm__ volatile("push {r2-r11, lr}\n\t" DOT_MUL_START16
                     "2:\n\t" DOT_MUL_FOUR16 "ldr r2, [sp]\n\t"
                     "cmp r1, r2\n\t"
                     "bne.w 2b\n\t" DOT_MUL_APART16 "ldr r4, [sp, #4]\n\t"
                     "ldm r4, {r2, r3, r5, r6}\n\t"
                     "adds r2, r9\n\t"
                     "adc r3, r3, r10\n\t"
                     "adds r5, r11\n\t"
                     "adc r6, r6, r12\n\t"
                     "stm r4, {r2, r3, r5, r6}\n\t"
                     "add sp, #8\n\t"
                     "pop {r4-r11, pc}");
}

/* The results of a map's whole groups.  On the stack is what one begins with
 * and, up to r8, is rounded with:
 *
 *      0 z, a, b                       32 -2^15 sum z, 0, both of 64 bits
 *     12 a's end, bytes between two b  48 where the first turn of the loop
 *     20 shift, 32 - shift                starts: the last ones are what is
 *     28 z's end                          left of whole turns
 */
static VG_NAKED void dot_mul_groups16(VG_UNUSED(const dot_map *, m),
                                      VG_UNUSED(int16_t *, a),
                                      VG_UNUSED(int32_t, shift))
{
    __asm__ volatile(
        "push {r4-r11, lr}\n\t"
        "sub sp, #52\n\t"
        "mov r9, r2\n\t"
        "mov r2, r1\n\t"
        "ldm r0, {r0, r3-r7}\n\t"
        "mov r1, r5\n\t"
        "add r8, r1, r7, lsl #2\n\t"
        "subs r7, #4\n\t"
        "ubfx r7, r7, #2, #2\n\t"
        "adds r7, #1\n\t"
        "movs r4, #14 * 4\n\t"
        "adr.w lr, 3f + 1\n\t"
        "mls lr, r4, r7, lr\n\t"
        "bic r6, r6, #1\n\t"
        "add r4, r2, r6, lsl #1\n\t"
        "mov r6, r9\n\t"
        "rsb r7, r9, #32\n\t"
        "movs r5, #8\n\t"
        "cbnz r3, 4f\n\t"
        "movs r5, #0\n\t"
        "adr.w r3, 5f\n"
        "4:\n\t" DOT_MUL_START16 "stm sp, {r1-r12, lr}\n"
        "1:\n\t"
        "ldm sp, {r1-r12, pc}\n"
        "2:\n\t" DOT_MUL_FOUR16 DOT_MUL_FOUR16 DOT_MUL_FOUR16 DOT_MUL_FOUR16
        "3:\n\t"
        "ldr r2, [sp, #28]\n\t"
        "cmp r1, r2\n\t"
        "bne.w 2b\n\t" DOT_MUL_APART16 "ldm sp, {r1-r8}\n\t"
        "ldrd r1, r8, [r3]\n\t"
        "add r3, r5\n\t" DOT_MUL_ROW16("r9", "r10", "r1")
            DOT_MUL_ROW16("r11", "r12", "r8") "strd r2, r3, [sp, #4]\n\t"
                                              "cmp r2, r4\n\t"
                                              "bne.w 1b\n\t"
                                              "add sp, #52\n\t"
                                              "pop {r4-r11, pc}\n\t"
                                              ".balign 4\n"
                                              "5:\n\t"
                                              ".word 0, 0");
}

static inline void dot_mul_words16(const uint32_t *w, const int32_t *z,
                                   uint32_t n, int64_t *sum)
{
    dot_mul_group16(w, z, z + n, sum);
}

/* |W z + b| <= (n + 2) 2^30, which must leave 32 bits when it is rounded. */
static inline uint32_t dot_mul_words_map16(const dot_map *m, int16_t *a)
{
    const int shift = m->exps[0] - m->arg_exp;

    if ((m->stride + 2) >> shift > 1 || m->rows < 2)
        return 0;
    dot_mul_groups16(m, a, shift);
    return m->rows & ~1u;
}

#endif
