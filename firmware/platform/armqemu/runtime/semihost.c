#include "semihost.h"

enum { SYS_OPEN = 0x01, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT_EX = 0x20 };

#define STOPPED_APPLICATION_EXIT 0x20026

static intptr_t call(int op, const void *arg)
{
    register intptr_t r0 __asm__("r0") = op;
    register const void *r1 __asm__("r1") = arg;

    __asm__ volatile("bkpt 0xAB"
                     : "+r"(r0)
                     : "r"(r1)
                     : "memory", "r2", "r3", "ip", "lr");
    return r0;
}

/* A stream's handle, opened at its first use. */
static intptr_t handle(int stream)
{
    static const uint8_t mode[3] = {0, 4, 8}; /* r, w, a */
    static intptr_t opened[3];                /* handle + 1, or 0 */

    if (opened[stream] == 0) {
        const intptr_t arg[3] = {(intptr_t)":tt", mode[stream], 3};

        opened[stream] = call(SYS_OPEN, arg) + 1;
    }
    return opened[stream] - 1;
}

int32_t semihost_read(char *buf, int32_t size)
{
    const intptr_t arg[3] = {handle(SEMIHOST_IN), (intptr_t)buf, size};
    intptr_t missing = call(SYS_READ, arg);

    return missing < 0 || missing > size ? 0 : size - (int32_t)missing;
}

void semihost_write(int stream, const char *text, int32_t len)
{
    while (len > 0) {
        const intptr_t arg[3] = {handle(stream), (intptr_t)text, len};
        intptr_t missing = call(SYS_WRITE, arg);

        if (missing < 0 || missing >= len)
            semihost_exit(1); /* nobody reads any more */
        text += len - missing;
        len = (int32_t)missing;
    }
}

void semihost_exit(int code)
{
    const intptr_t arg[2] = {STOPPED_APPLICATION_EXIT, code};

    for (;;)
        (void)call(SYS_EXIT_EX, arg);
}
