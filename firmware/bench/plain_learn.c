/* plain_learn.c - an LSTM layer that learns as C programmers write it in float:
 * backpropagation through a whole sequence, the gradient clipped to a norm,
 * SGD.  The loss is that of the core: 1/2 (h - target)^2, summed.
 */
#include <string.h>

#include "plain.h"

/* Weights as in plain.c and the biases as their last row; gates i, f, g, o. */
typedef struct {
    float *w;  /* [n_in + n + 1][4 n] */
    float *g;  /* [n_in + n + 1][4 n]: the gradient */
    float *z;  /* [steps + 1][n_in + n + 1]: x, the h before, 1 */
    float *a;  /* [steps][4 n]: the gates, and on the way back their errors */
    float *c;  /* [steps + 1][n] */
    float *tc; /* [steps][n]: tanh(c) */
    float *dh; /* [n]: from the step after, as dc */
    float *dc; /* [n] */
    uint32_t n_in;
    uint32_t n;
    uint32_t steps;
    float rate;
    float clip;
} plain_learner;

void plain_learn(const plain_learner *p, const float *x, const float *target,
                 uint32_t sequences);

/* In eight sums, so that the compiler makes a vector of them. */
static float dot(const float *restrict a, const float *restrict b, uint32_t n)
{
    float s[8] = {0}, sum = 0;

    for (; n >= 8; n -= 8, a += 8, b += 8)
        for (uint32_t k = 0; k < 8; k++)
            s[k] += a[k] * b[k];
    for (uint32_t k = 0; k < n; k++)
        s[k] += a[k] * b[k];
    for (uint32_t k = 0; k < 8; k++)
        sum += s[k];
    return sum;
}

static uint32_t columns(const plain_learner *p)
{
    return p->n_in + p->n + 1;
}

/* ---- forward -------------------------------------------------------- */

static void unit(float *restrict i, float *restrict f, float *restrict g,
                 float *restrict o, const float *restrict c0, float *restrict c,
                 float *restrict tc, float *restrict h, uint32_t n)
{
    for (uint32_t u = 0; u < n; u++) {
        i[u] = plain_sigmoid(i[u]);
        f[u] = plain_sigmoid(f[u]);
        g[u] = tanhf(g[u]);
        o[u] = plain_sigmoid(o[u]);
        c[u] = f[u] * c0[u] + i[u] * g[u];
        tc[u] = tanhf(c[u]);
        h[u] = o[u] * tc[u];
    }
}

static void forward(const plain_learner *p, const float *x)
{
    const uint32_t n = p->n, rows = 4 * n;
    float *z = p->z, *a = p->a, *c = p->c;

    memset(z + p->n_in, 0, n * sizeof *z);
    memset(c, 0, n * sizeof *c);
    for (uint32_t t = 0; t < p->steps; t++, a += rows, c += n, x += p->n_in) {
        float *const after = z + columns(p);
        memcpy(z, x, p->n_in * sizeof *z);
        z[p->n_in + n] = 1.0f;
        memset(a, 0, rows * sizeof *a);
        for (uint32_t j = 0; j < columns(p); j++)
            plain_add(a, p->w + j * rows, z[j], rows);
        unit(a, a + n, a + 2 * n, a + 3 * n, c, c + n, p->tc + t * n,
             after + p->n_in, n);
        z = after;
    }
}

/* ---- backward ------------------------------------------------------- */

/* From the errors of h and c after a step to those of its arguments, where the
 * gates were, and of c before it. */
static void unit_back(float *restrict i, float *restrict f, float *restrict g,
                      float *restrict o, const float *restrict c0,
                      const float *restrict tc, const float *restrict dh,
                      float *restrict dc, uint32_t n)
{
    for (uint32_t u = 0; u < n; u++) {
        const float d = dc[u] + dh[u] * o[u] * (1.0f - tc[u] * tc[u]);
        const float d_i = d * g[u] * i[u] * (1.0f - i[u]);
        dc[u] = d * f[u];
        g[u] = d * i[u] * (1.0f - g[u] * g[u]);
        i[u] = d_i;
        f[u] = d * c0[u] * f[u] * (1.0f - f[u]);
        o[u] = dh[u] * tc[u] * o[u] * (1.0f - o[u]);
    }
}

static void backward(const plain_learner *p, const float *target)
{
    const uint32_t n = p->n, rows = 4 * n;

    memset(p->dh, 0, n * sizeof *p->dh);
    memset(p->dc, 0, n * sizeof *p->dc);
    for (uint32_t t = p->steps; t-- > 0;) {
        const float *h = p->z + (t + 1) * columns(p) + p->n_in;
        float *a = p->a + t * rows;
        for (uint32_t u = 0; u < n; u++)
            p->dh[u] += h[u] - target[t * n + u];
        unit_back(a, a + n, a + 2 * n, a + 3 * n, p->c + t * n, p->tc + t * n,
                  p->dh, p->dc, n);
        for (uint32_t u = 0; t && u < n; u++)
            p->dh[u] = dot(p->w + (p->n_in + u) * rows, a, rows);
    }
}

/* ---- the update ----------------------------------------------------- */

static void gradient(const plain_learner *p)
{
    const uint32_t rows = 4 * p->n;

    memset(p->g, 0, columns(p) * rows * sizeof *p->g);
    for (uint32_t j = 0; j < columns(p); j++)
        for (uint32_t t = 0; t < p->steps; t++)
            plain_add(p->g + j * rows, p->a + t * rows,
                      p->z[t * columns(p) + j], rows);
}

static void update(const plain_learner *p)
{
    const uint32_t size = columns(p) * 4 * p->n;
    const float norm = sqrtf(dot(p->g, p->g, size));
    const float by = norm > p->clip ? p->clip / norm : 1.0f;

    plain_add(p->w, p->g, -p->rate * by, size);
}

/* From x[sequences][steps][n_in] and target[sequences][steps][n]. */
void plain_learn(const plain_learner *p, const float *x, const float *target,
                 uint32_t sequences)
{
    for (; sequences; sequences--) {
        forward(p, x);
        backward(p, target);
        gradient(p);
        update(p);
        x += p->steps * p->n_in;
        target += p->steps * p->n;
    }
}
