/* board_qemu.c - emulated boards: the host's standard streams. */
#include "board.h"
#include "semihost.h"

extern uint32_t end[], __stack_limit[], __stack_top[]; /* cortexm.ld */

/* Whatever the program does not use is the pool; a pipe holds 4096 bytes at
 * the least. */
const struct board board = {
    BOARD_CORE, end, __stack_limit, __stack_limit, __stack_top, 4096,
};

int32_t board_read(char *buf, int32_t size)
{
    return semihost_read(buf, size);
}

void board_write(const char *text, int32_t len)
{
    semihost_write(SEMIHOST_OUT, text, len);
}

void board_exit(int code)
{
    semihost_exit(code);
}
