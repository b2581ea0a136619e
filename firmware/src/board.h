/* board.h - all that a board must give the application: three functions and
 * what it is made of; and the application itself. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct board {
    const char *core;            /* such as "cortex-m4" */
    uint32_t *pool, *pool_end;   /* RAM for the line, a blob and its arena */
    uint32_t *stack, *stack_end; /* null where nobody can know */
    uint32_t ahead; /* bytes the host may send beyond the line answered last */
};

extern const struct board board;

/* Wait for input, take up to size bytes of it and return how many; 0 is the
 * end of input. */
int32_t board_read(char *buf, int32_t size);

/* Send text[len] to the host. */
void board_write(const char *text, int32_t len);

/* End the program with an exit code, or stop where there is no host. */
void board_exit(int code);

/* The program: answers what it reads until the end of input, and exits. */
void application(void);

#ifdef __cplusplus
}
#endif

#endif
