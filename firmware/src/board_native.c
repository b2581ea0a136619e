/* board_native.c - the application as a program of the host. */
#include <stdlib.h>
#include <unistd.h>

#include "board.h"

enum { POOL_WORDS = 1 << 20 };

static uint32_t pool[POOL_WORDS];

const struct board board = {
    BOARD_CORE, pool, pool + POOL_WORDS, 0, 0, 4096,
};

int32_t board_read(char *buf, int32_t size)
{
    ssize_t got = read(STDIN_FILENO, buf, (size_t)size);

    return got > 0 ? (int32_t)got : 0;
}

void board_write(const char *text, int32_t len)
{
    while (len > 0) {
        ssize_t done = write(STDOUT_FILENO, text, (size_t)len);

        if (done <= 0)
            exit(1); /* nobody reads any more */
        text += done;
        len -= (int32_t)done;
    }
}

void board_exit(int code)
{
    exit(code);
}
