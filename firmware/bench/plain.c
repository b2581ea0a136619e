/* plain.c - an LSTM layer as C programmers write it in float, to time beside
 * the core (pyvgrad/plain_c.py).
 *
 * Weights lie column by column, all four gates of it, so that the inner loop
 * goes along them and the compiler makes vectors of it.
 */
#include <string.h>

#include "plain.h"

/* Gates i, f, g, o; rows of them: 4 n. */
typedef struct {
    const float *w; /* [n_in + n][4 n] */
    const float *b; /* [4 n] */
    float *h;       /* [n] */
    float *c;       /* [n] */
    float *a;       /* [4 n], scratch */
    uint32_t n_in;
    uint32_t n;
} plain_lstm;

void plain_steps(const plain_lstm *l, const float *x, uint32_t steps, float *y);

static void unit(const float *restrict a, float *restrict c, float *restrict h,
                 uint32_t n)
{
    for (uint32_t u = 0; u < n; u++) {
        const float i = plain_sigmoid(a[u]), f = plain_sigmoid(a[n + u]);
        c[u] = f * c[u] + i * tanhf(a[2 * n + u]);
        h[u] = plain_sigmoid(a[3 * n + u]) * tanhf(c[u]);
    }
}

static void step(const plain_lstm *l, const float *x)
{
    const uint32_t n = l->n;
    const float *w = l->w;

    memcpy(l->a, l->b, 4 * n * sizeof *l->a);
    for (uint32_t j = 0; j < l->n_in; j++, w += 4 * n)
        plain_add(l->a, w, x[j], 4 * n);
    for (uint32_t j = 0; j < n; j++, w += 4 * n)
        plain_add(l->a, w, l->h[j], 4 * n);
    unit(l->a, l->c, l->h, n);
}

/* From a state of zeros: y[steps][n] of x[steps][n_in]. */
void plain_steps(const plain_lstm *l, const float *x, uint32_t steps, float *y)
{
    memset(l->h, 0, l->n * sizeof *l->h);
    memset(l->c, 0, l->n * sizeof *l->c);
    for (; steps; steps--, x += l->n_in, y += l->n) {
        step(l, x);
        memcpy(y, l->h, l->n * sizeof *y);
    }
}
