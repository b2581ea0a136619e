/* dot_rows_mul.h - Thumb-2: SMLAL adds a product onto 64 bits.
 *
 *     r0 w   r1 e   r2 bytes from row to row   r3-r10 four sums   r11, r12
 *     errors   lr a weight
 */
#ifndef VG_DOT_ROWS_MUL_H
#define VG_DOT_ROWS_MUL_H

/* One row. */
#define DOT_ROWS_ROW(e)                                                        \
    "ldrsh lr, [r0]\n\t"                                                       \
    "smlal r3, r4, lr, " e "\n\t"                                              \
    "ldrsh lr, [r0, #2]\n\t"                                                   \
    "smlal r5, r6, lr, " e "\n\t"                                              \
    "ldrsh lr, [r0, #4]\n\t"                                                   \
    "smlal r7, r8, lr, " e "\n\t"                                              \
    "ldrsh lr, [r0, #6]\n\t"                                                   \
    "smlal r9, r10, lr, " e "\n\t"                                             \
    "add r0, r2\n\t"

#define DOT_ROWS_TWO                                                           \
    "ldrd r11, r12, [r1], #8\n\t" DOT_ROWS_ROW("r11") DOT_ROWS_ROW("r12")

/* r12 |= what is set in a sum's high half, its sign left out. */
#define DOT_ROWS_SIZE(high)                                                    \
    "eor lr, " high ", " high ", asr #31\n\t"                                  \
    "orr r12, lr\n\t"

/* high <- the sum rounded by r0; r1 is 32 less it.  What LSRS shifts out last
 * is carried. */
#define DOT_ROWS_ROUND(low, high)                                              \
    "lsrs " low ", " low ", r0\n\t"                                            \
    "lsl " high ", " high ", r1\n\t"                                           \
    "adc " high ", " high ", " low "\n\t"

/* Where the high half of a sum is within +-2^(shift - 5), it is within +-2^27
 * when it is rounded. */
static inline int dot_rows_mul_fit(const dot_rows *r)
{
    return r->shift >= 5 && r->shift < 32;
}

/* j: the first of four columns, in bytes. */
static VG_NAKED uint32_t dot_rows_mul_four(VG_UNUSED(const dot_rows *, r),
                                           VG_UNUSED(const dot_rows *, end),
                                           VG_UNUSED(uint32_t, j),
                                           VG_UNUSED(int32_t *, sum))
{
    __asm__ volatile(
        "push {r0-r11, lr}\n"
        "1:\n\t"
        "ldr r9, [sp]\n\t"
        "ldr r3, [sp, #8]\n\t"
        "ldm r9, {r0, r1, r11, r12}\n\t"
        "add r0, r3\n\t"
        "lsl r2, r12, #1\n\t"
        "add r12, r1, r11, lsl #2\n\t"
        "bic r11, r11, #3\n\t"
        "add r11, r1, r11, lsl #2\n\t"
        "push {r11, r12}\n\t"
        "mov r3, #0\n\t"
        "mov r4, #0\n\t"
        "mov r5, #0\n\t"
        "mov r6, #0\n\t"
        "mov r7, #0\n\t"
        "mov r8, #0\n\t"
        "mov r9, #0\n\t"
        "mov r10, #0\n\t"
        "b 3f\n"
        "2:\n\t" DOT_ROWS_TWO DOT_ROWS_TWO "ldr r11, [sp]\n"
        "3:\n\t"
        "cmp r1, r11\n\t"
        "bne.w 2b\n\t"
        "b 5f\n"
        "4:\n\t"
        "ldr r11, [r1], #4\n\t" DOT_ROWS_ROW(
            "r11") "5:\n\t"
                   "ldr r12, [sp, #4]\n\t"
                   "cmp r1, r12\n\t"
                   "bne 4b\n\t"
                   "add sp, #8\n\t"
                   "ldr r2, [sp]\n\t"
                   "ldr r0, [r2, #16]\n\t"
                   "add r2, #20\n\t"
                   "str r2, [sp]\n\t"
                   "eor r12, r4, r4, asr #31\n\t" DOT_ROWS_SIZE("r6")
                       DOT_ROWS_SIZE("r8") DOT_ROWS_SIZE(
                           "r10") "sub r1, r0, #5\n\t"
                                  "lsrs r12, r1\n\t"
                                  "bne 6f\n\t"
                                  "rsb r1, r0, #32\n\t" DOT_ROWS_ROUND(
                                      "r3", "r4") DOT_ROWS_ROUND("r5", "r6")
                                      DOT_ROWS_ROUND("r7", "r8") DOT_ROWS_ROUND(
                                          "r9",
                                          "r10") "ldr r0, [sp, #12]\n\t"
                                                 "ldm r0, {r3, r5, r7, r9}\n\t"
                                                 "add r3, r4\n\t"
                                                 "add r5, r6\n\t"
                                                 "add r7, r8\n\t"
                                                 "add r9, r10\n\t"
                                                 "stm r0, {r3, r5, r7, r9}\n\t"
                                                 "ldr r3, [sp, #4]\n\t"
                                                 "cmp r2, r3\n\t"
                                                 "bne.w 1b\n"
                                                 "6:\n\t"
                                                 "ite eq\n\t"
                                                 "moveq r0, #1\n\t"
                                                 "movne r0, #0\n\t"
                                                 "add sp, #16\n\t"
                                                 "pop {r4-r11, pc}");
}

static inline int dot_rows_mul(const dot_rows *r, const dot_rows *end,
                               uint32_t j, int32_t *sum)
{
    return dot_rows_mul_four(r, end, 2 * j, sum) != 0;
}

#undef DOT_ROWS_ROUND
#undef DOT_ROWS_SIZE
#undef DOT_ROWS_TWO
#undef DOT_ROWS_ROW

#endif
