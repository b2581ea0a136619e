/* vectors.c - let a core with an FPU or vectors use them, before it is counted.
 */
#include <stdint.h>

void bench_enable(void);

void bench_enable(void)
{
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: CP10, CP11 */
    __asm__ volatile("dsb\n isb");
#endif
}
