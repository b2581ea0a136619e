/* stack.h - how deep the stack went, by painting it. */
#ifndef STACK_H
#define STACK_H

#include <stdint.h>

/* Paint what is free of the board's stack; call it first of all. */
void stack_paint(void);

/* The most bytes in use at any time since, or 0 where nobody can know. */
uint32_t stack_used(void);

/* Has the stack gone to its limit, perhaps beyond? */
int stack_is_full(void);

#endif
