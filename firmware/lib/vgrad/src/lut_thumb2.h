/* lut_thumb2.h - lut_cubic for Thumb-2: SBFX cuts out d, one LDM brings a row.
 * A row has 12 bytes: (z - d) 3 / 2^(bits-2) of them lie before the one asked
 * for.
 */
#ifndef VG_LUT_THUMB2_H
#define VG_LUT_THUMB2_H

/* From z - d in r12 to the row, and from c23 there to u d in y: u is the upper
 * half of a sum. */
#if VG_DSP
#define LUT_THUMB2_ROW(bits_less_2) "smlawb r12, r12, %[scale], %[zero]\n\t"
#define LUT_THUMB2_UD                                                          \
    "smlabb r12, r12, %[d], r12\n\t"                                           \
    "smultb %[y], r12, %[d]\n\t"
#define LUT_THUMB2_SCALE(bits) , [scale] "r"(3 << (18 - (bits)))
#else
#define LUT_THUMB2_ROW(bits_less_2)                                            \
    "add r12, r12, r12, lsl #1\n\t"                                            \
    "add r12, %[zero], r12, asr #" bits_less_2 "\n\t"
#define LUT_THUMB2_UD                                                          \
    "sxth %[y], r12\n\t"                                                       \
    "mla %[y], %[y], %[d], r12\n\t"                                            \
    "asr %[y], %[y], #16\n\t"                                                  \
    "mul %[y], %[y], %[d]\n\t"
#define LUT_THUMB2_SCALE(bits)
#endif

/* clang-format off */
#define LUT_THUMB2(n, bits, bits_less_2)                                       \
    int32_t y, d;                                                              \
    __asm__("sbfx %[d], %[z], #0, #" bits "\n\t"                               \
            "sub r12, %[z], %[d]\n\t"                                          \
            LUT_THUMB2_ROW(bits_less_2)                                        \
            "ldm r12, {r2, r3, r12}\n\t"                                       \
            LUT_THUMB2_UD                                                      \
            "add r3, r3, %[y], asr #" bits_less_2 "\n\t"                       \
            "mla %[y], r3, %[d], r2\n\t"                                       \
            "asr %[y], %[y], #16"                                              \
            : [y] "=&r"(y), [d] "=&r"(d)                                       \
            : [z] "r"(z), [zero] "r"(zero) LUT_THUMB2_SCALE(n)                 \
            : "r2", "r3", "r12");                                              \
    return y;
/* clang-format on */

static inline int32_t lut_thumb2_sigmoid(const struct lut_seg *zero, int32_t z)
{
    LUT_THUMB2(LUT_SIGMOID_BITS, "9", "7")
}

static inline int32_t lut_thumb2_tanh(const struct lut_seg *zero, int32_t z)
{
    LUT_THUMB2(LUT_TANH_BITS, "8", "6")
}

#undef LUT_THUMB2
#undef LUT_THUMB2_SCALE
#undef LUT_THUMB2_UD
#undef LUT_THUMB2_ROW

#endif
