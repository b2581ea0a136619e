#include "stack.h"

#include "board.h"

enum { MARGIN_WORDS = 16 }; /* stack_paint's own frame */

static const uint32_t PAINT = 0x5AC3C35Au;

void stack_paint(void)
{
    volatile uint32_t here = 0;
    uint32_t words, i;

    if (!board.stack)
        return;
    words = (uint32_t)((uintptr_t)&here - (uintptr_t)board.stack) / 4u;
    for (i = 0; i + MARGIN_WORDS < words; i++)
        board.stack[i] = PAINT + here;
}

uint32_t stack_used(void)
{
    const uint32_t *word = board.stack;

    if (!word)
        return 0;
    while (word < board.stack_end && *word == PAINT)
        word++;
    return (uint32_t)(board.stack_end - word) * 4u;
}

int stack_is_full(void)
{
    return board.stack && *board.stack != PAINT;
}
