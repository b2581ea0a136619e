/* bench.c - the objects that the instruction counter (pyvgrad/icount.py) runs.
 *
 * It calls these functions, and those of the library, by their addresses.
 */
#include "vgrad.h"

int bench_open(const void *blob, uint32_t size);
int32_t bench_size(void);
int bench_start(void *arena, uint32_t size);
int32_t bench_whole_size(uint32_t steps);
int32_t bench_train_size(const vg_learn *learn);
int bench_train_start(const vg_learn *learn, void *arena, uint32_t size);

vg_run bench_run;
vg_train bench_train;

static vg_model model;

int bench_open(const void *blob, uint32_t size)
{
    return vg_model_open(&model, blob, size);
}

int32_t bench_size(void)
{
    return vg_run_size(&model);
}

int bench_start(void *arena, uint32_t size)
{
    return vg_run_init(&bench_run, &model, arena, size);
}

int32_t bench_whole_size(uint32_t steps)
{
    return vg_run_whole_size(&model, steps);
}

int32_t bench_train_size(const vg_learn *learn)
{
    return vg_train_size(&model, learn);
}

int bench_train_start(const vg_learn *learn, void *arena, uint32_t size)
{
    return vg_train_init(&bench_train, &model, learn, arena, size);
}
