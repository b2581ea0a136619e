/* lut_thumb2.h - lut_cubic for Thumb-2: SBFX cuts out d, one LDM brings a row.
 */
#ifndef VG_LUT_THUMB2_H
#define VG_LUT_THUMB2_H

/* r12 holds c3 and c2.  Leaves u in y. */
#ifdef __ARM_FEATURE_DSP
#define LUT_THUMB2_U                                                           \
    "smultb %[y], r12, %[d]\n\t"                                               \
    "asr %[y], %[y], #12\n\t"                                                  \
    "sxtah %[y], %[y], r12\n\t"
#else
#define LUT_THUMB2_U                                                           \
    "asr %[y], r12, #16\n\t"                                                   \
    "mul %[y], %[y], %[d]\n\t"                                                 \
    "sxth r12, r12\n\t"                                                        \
    "add %[y], r12, %[y], asr #12\n\t"
#endif

/* A row has 12 bytes: (z - d) 3 / 2^(bits-2) of them lie before the one asked
 * for. */
#define LUT_THUMB2(bits, bits_less_2, bits_more_2)                             \
    int32_t y, d;                                                              \
    __asm__("sbfx %[d], %[z], #0, #" bits "\n\t"                               \
            "sub r12, %[z], %[d]\n\t"                                          \
            "add r12, r12, r12, lsl #1\n\t"                                    \
            "add r12, %[zero], r12, asr #" bits_less_2 "\n\t"                  \
            "ldm r12, {r2, r3, r12}\n\t" LUT_THUMB2_U                          \
            "mul %[y], %[y], %[d]\n\t"                                         \
            "add r3, r3, %[y], asr #" bits_more_2 "\n\t"                       \
            "mla %[y], r3, %[d], r2\n\t"                                       \
            "asr %[y], %[y], #16"                                              \
            : [y] "=&r"(y), [d] "=&r"(d)                                       \
            : [z] "r"(z), [zero] "r"(zero)                                     \
            : "r2", "r3", "r12");                                              \
    return y;

static inline int32_t lut_thumb2_sigmoid(const struct lut_seg *zero, int32_t z)
{
    LUT_THUMB2("9", "7", "11")
}

static inline int32_t lut_thumb2_tanh(const struct lut_seg *zero, int32_t z)
{
    LUT_THUMB2("8", "6", "10")
}

#undef LUT_THUMB2
#undef LUT_THUMB2_U

#endif
