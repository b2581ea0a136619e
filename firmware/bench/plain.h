/* plain.h - what running and learning in plain C share. */
#ifndef PLAIN_H
#define PLAIN_H

#include <math.h>
#include <stdint.h>

/* a[n] += w[n] z. */
static inline void plain_add(float *restrict a, const float *restrict w,
                             float z, uint32_t n)
{
    for (uint32_t k = 0; k < n; k++)
        a[k] += w[k] * z;
}

static inline float plain_sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

#endif
