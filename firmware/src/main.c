/* main.c - the application: lines from the board to the protocol and back. */
#include "board.h"
#include "protocol.h"
#include "stack.h"

#ifndef PIO_UNIT_TESTING /* a test has a main of its own */

enum { CHUNK = 256, LINE_MAX = 16384, STACK_FULL = 3 };

static char in[CHUNK], out[CHUNK];
static int32_t out_len;

static void flush(void)
{
    board_write(out, out_len);
    out_len = 0;
}

static void put(const char *text, uint32_t len)
{
    uint32_t i;

    for (i = 0; i < len; i++) {
        if (out_len == CHUNK)
            flush();
        out[out_len++] = text[i];
    }
}

struct line {
    char *text;
    uint32_t len, size;
    int is_long; /* it did not fit: wait for its end */
};

/* A line is complete. */
static void finish(struct protocol *p, struct line *l)
{
    if (l->len > 0 && l->text[l->len - 1] == '\r')
        l->len--;
    if (l->is_long)
        protocol_refuse(p, MESSAGE_LONG);
    else if (l->len > 0)
        protocol_line(p, l->text, l->len);
    l->len = 0;
    l->is_long = 0;
    if (stack_is_full())
        board_exit(STACK_FULL); /* what it computed cannot be trusted */
}

static void take(struct protocol *p, struct line *l, char c)
{
    if (c == '\n')
        finish(p, l);
    else if (l->len + 1 < l->size)
        l->text[l->len++] = c;
    else
        l->is_long = 1;
}

/* An eighth of the pool for the line, the rest for the protocol. */
void application(void)
{
    static struct protocol p;
    uint32_t ram = (uint32_t)(board.pool_end - board.pool) * 4u;
    struct line l = {(char *)board.pool, 0, ram / 8u & ~3u, 0};
    int32_t n, i;

    stack_paint();
    if (l.size > LINE_MAX)
        l.size = LINE_MAX;
    protocol_init(&p, board.pool + l.size / 4u, ram - l.size, l.size - 2u, put);
    while ((n = board_read(in, CHUNK)) > 0) {
        for (i = 0; i < n; i++)
            take(&p, &l, in[i]);
        flush();
    }
    board_exit(0);
}

#ifndef ARDUINO /* its core has a main of its own, which calls setup */
int main(void)
{
    application();
    return 0;
}
#endif

#endif
