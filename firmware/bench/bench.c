/* bench.c - the objects that the instruction counter (pyvgrad/icount.py) runs.
 *
 * It calls these functions, and those of the library, by their addresses.
 */
#include "vgrad.h"

int32_t bench_open(const void *blob, uint32_t size);
int bench_start(void *arena, uint32_t size);
int32_t bench_learn(uint32_t method, uint32_t loss, uint32_t k2);
int bench_begin(void *arena, uint32_t size);

vg_run bench_run;
vg_train bench_train;

static vg_model model;
static vg_learn learn;

/* Open a blob: the size of its run's arena, or a vg_err. */
int32_t bench_open(const void *blob, uint32_t size)
{
    int err = vg_model_open(&model, blob, size);

    return err ? err : vg_run_size(&model);
}

/* Set bench_run up. */
int bench_start(void *arena, uint32_t size)
{
    return vg_run_init(&bench_run, &model, arena, size);
}

/* State how to learn, by SGD with clipping: TBPTT with one update a sequence,
 * RTRL97 with one a step.  The size of the training's arena, or a vg_err. */
int32_t bench_learn(uint32_t method, uint32_t loss, uint32_t k2)
{
    learn.method = (uint8_t)method;
    learn.loss = (uint8_t)loss;
    learn.k1 = method == VG_RTRL97;
    learn.k2 = (uint16_t)k2;
    learn.rate_q24 = 1 << 20;
    learn.clip_q16 = 1 << 16;
    return vg_train_size(&model, &learn);
}

/* Set bench_train up. */
int bench_begin(void *arena, uint32_t size)
{
    return vg_train_init(&bench_train, &model, &learn, arena, size);
}
