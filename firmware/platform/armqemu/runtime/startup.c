/* startup.c - from reset to main, for any Cortex-M. */
#include "semihost.h"

extern uint32_t __data_load[], __data_start[], __data_end[];
extern uint32_t __bss_start[], __bss_end[], __stack_top[];

extern int main(void);
extern void exit(int) __attribute__((noreturn));
extern void __libc_init_array(void);

void Reset_Handler(void);
void Fault_Handler(void);

/* Leave with exit code 127. */
void Fault_Handler(void)
{
    static const char text[] = "CPU fault\n";

    semihost_write(SEMIHOST_ERR, text, sizeof text - 1);
    semihost_exit(127);
}

void Reset_Handler(void)
{
    const uint32_t *from = __data_load;
    uint32_t *to;

    /* cppcheck-suppress comparePointers */
    for (to = __data_start; to < __data_end; to++)
        *to = *from++;
    /* cppcheck-suppress comparePointers */
    for (to = __bss_start; to < __bss_end; to++)
        *to = 0;
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: CP10, CP11 */
    __asm__ volatile("dsb\n isb");
#endif
    __libc_init_array();
    exit(main());
}

struct vectors {
    uint32_t *stack;
    void (*reset)(void);
    void (*fault[14])(void); /* NMI up to SysTick: none is expected */
};

extern const struct vectors vectors;

__attribute__((section(".vectors"), used))
const struct vectors vectors = {__stack_top,
                                Reset_Handler,
                                {
                                    Fault_Handler,
                                    Fault_Handler,
                                    Fault_Handler,
                                    Fault_Handler,
                                    Fault_Handler,
                                    Fault_Handler,
                                    Fault_Handler,
                                    Fault_Handler,
                                    Fault_Handler,
                                    Fault_Handler,
                                    Fault_Handler,
                                    Fault_Handler,
                                    Fault_Handler,
                                    Fault_Handler,
                                }};
