/* lut_thumb2.h - lut_cubic for Thumb-2: SBFX cuts out d, one LDM brings a row.
 * A row has 12 bytes: (z - d) 3 / 2^(bits-2) of them lie before the one asked
 * for.
 */
#ifndef VG_LUT_THUMB2_H
#define VG_LUT_THUMB2_H

/* From z - d in r12 to the row, and from c3 and c2 there to u d in y.  SMULBB
 * looks at the lower half of u only, so that c3 may stay on c2's top. */
#ifdef __ARM_FEATURE_DSP
#define LUT_THUMB2_ROW(bits_less_2) "smlawb r12, r12, %[scale], %[zero]\n\t"
#define LUT_THUMB2_UD                                                          \
    "smultb %[y], r12, %[d]\n\t"                                               \
    "add r12, r12, %[y], asr #12\n\t"                                          \
    "smulbb %[y], r12, %[d]\n\t"
#define LUT_THUMB2_SCALE(bits) , [scale] "r"(3 << (18 - (bits)))
#else
#define LUT_THUMB2_ROW(bits_less_2)                                            \
    "add r12, r12, r12, lsl #1\n\t"                                            \
    "add r12, %[zero], r12, asr #" bits_less_2 "\n\t"
#define LUT_THUMB2_UD                                                          \
    "asr %[y], r12, #16\n\t"                                                   \
    "mul %[y], %[y], %[d]\n\t"                                                 \
    "sxth r12, r12\n\t"                                                        \
    "add %[y], r12, %[y], asr #12\n\t"                                         \
    "mul %[y], %[y], %[d]\n\t"
#define LUT_THUMB2_SCALE(bits)
#endif

/* clang-format off */
#define LUT_THUMB2(n, bits, bits_less_2, bits_more_2)                          \
    int32_t y, d;                                                              \
    __asm__("sbfx %[d], %[z], #0, #" bits "\n\t"                               \
            "sub r12, %[z], %[d]\n\t"                                          \
            LUT_THUMB2_ROW(bits_less_2)                                        \
            "ldm r12, {r2, r3, r12}\n\t"                                       \
            LUT_THUMB2_UD                                                      \
            "add r3, r3, %[y], asr #" bits_more_2 "\n\t"                       \
            "mla %[y], r3, %[d], r2\n\t"                                       \
            "asr %[y], %[y], #16"                                              \
            : [y] "=&r"(y), [d] "=&r"(d)                                       \
            : [z] "r"(z), [zero] "r"(zero) LUT_THUMB2_SCALE(n)                 \
            : "r2", "r3", "r12");                                              \
    return y;
/* clang-format on */

static inline int32_t lut_thumb2_sigmoid(const struct lut_seg *zero, int32_t z)
{
    LUT_THUMB2(LUT_SIGMOID_BITS, "9", "7", "11")
}

static inline int32_t lut_thumb2_tanh(const struct lut_seg *zero, int32_t z)
{
    LUT_THUMB2(LUT_TANH_BITS, "8", "6", "10")
}

#undef LUT_THUMB2
#undef LUT_THUMB2_SCALE
#undef LUT_THUMB2_UD
#undef LUT_THUMB2_ROW

#endif
