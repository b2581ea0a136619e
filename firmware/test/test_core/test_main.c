/* The core on the target, against integers from the specification. */
#include <string.h>

#include "board.h"
#include "tinytest.h"
#include "vgrad.h"

#define TINY_MODEL_STEPS
#include "../tiny_model.h"

enum { STATE_SIZE = sizeof model_state };

static uint32_t arena[VG_MODEL_ARENA_SIZE / 4];
static vg_model model;
static vg_run run;

static void start(void)
{
    (void)vg_model_open(&model, vg_model_blob, VG_MODEL_BLOB_SIZE);
    (void)vg_run_init(&run, &model, arena, sizeof arena);
}

/* Steps that differ from the specification. */
static int differences(int first, int last)
{
    vg_sig y[N_OUT];
    int t, count = 0;

    for (t = first; t < last; t++) {
        vg_run_step(&run, &model_x[t * N_IN], y);
        count += memcmp(y, &model_y[t * N_OUT], sizeof y) != 0 ||
                 memcmp(vg_run_logits(&run), y, sizeof y) != 0;
    }
    return count;
}

static void test_open_reads_the_shape(void)
{
    TT_EQ(VG_OK, vg_model_open(&model, vg_model_blob, VG_MODEL_BLOB_SIZE));
    TT_EQ(N_IN, model.n_in);
    TT_EQ(N_OUT, model.n_out);
    TT_EQ(STATE_SIZE, model.state_size);
    TT_EQ(VG_MODEL_BLOB_SIZE, model.size);
}

static void test_open_refuses_every_flipped_byte(void)
{
    static uint32_t copy[VG_MODEL_BLOB_SIZE / 4];
    uint8_t *byte = (uint8_t *)copy;
    int i, admitted = 0;

    for (i = 0; i < VG_MODEL_BLOB_SIZE; i++) {
        memcpy(copy, vg_model_blob, sizeof copy);
        byte[i] ^= 0x10;
        admitted += vg_model_open(&model, copy, sizeof copy) == VG_OK;
    }
    TT_EQ(0, admitted);
}

static void test_open_refuses_what_is_cut_or_misplaced(void)
{
    const uint8_t *at = (const uint8_t *)vg_model_blob;
    uint32_t size;
    int admitted = 0;

    for (size = 0; size < VG_MODEL_BLOB_SIZE; size++)
        admitted += vg_model_open(&model, at, size) == VG_OK;
    TT_EQ(0, admitted);
    TT_EQ(VG_E_ALIGN, vg_model_open(&model, at + 2, size - 2));
    TT_EQ(VG_E_ARG, vg_model_open(&model, 0, size));
}

static void test_init_refuses_a_small_arena(void)
{
    uint32_t size;

    start();
    size = (uint32_t)vg_run_size(&model);
    TT_TRUE(size <= sizeof arena);
    TT_EQ(VG_E_SIZE, vg_run_init(&run, &model, arena, size - 1));
    TT_EQ(VG_OK, vg_run_init(&run, &model, arena, size));
}

static void test_steps_give_the_integers(void)
{
    start();
    TT_EQ(0, differences(0, STEPS));
    TT_EQ(0, run.saturated);
}

static void test_one_call_equals_many(void)
{
    static vg_sig y[STEPS * N_OUT];

    start();
    vg_run_steps(&run, model_x, STEPS, y);
    TT_EQ(0, memcmp(y, model_y, sizeof y));
}

static void test_reset_starts_anew(void)
{
    start();
    (void)differences(0, 5);
    vg_run_reset(&run);
    TT_EQ(0, differences(0, STEPS));
}

static void test_saved_state_is_the_specified_one(void)
{
    uint8_t state[STATE_SIZE];

    start();
    (void)differences(0, STEPS);
    TT_EQ(VG_E_SIZE, vg_run_save(&run, state, STATE_SIZE - 1));
    TT_EQ(STATE_SIZE, vg_run_save(&run, state, STATE_SIZE));
    TT_EQ(0, memcmp(state, model_state, STATE_SIZE));
}

static void test_restored_state_goes_on(void)
{
    uint8_t state[STATE_SIZE];

    start();
    (void)differences(0, 9);
    (void)vg_run_save(&run, state, STATE_SIZE);
    (void)differences(0, 3);
    TT_EQ(VG_OK, vg_run_restore(&run, state, STATE_SIZE));
    TT_EQ(0, differences(9, STEPS));
}

static void test_restore_refuses_a_foreign_state(void)
{
    uint8_t state[STATE_SIZE];

    start();
    (void)vg_run_save(&run, state, STATE_SIZE);
    state[0] ^= 1;
    TT_EQ(VG_E_STATE, vg_run_restore(&run, state, STATE_SIZE));
    TT_EQ(0, differences(0, STEPS));
}

int main(void)
{
    tt_begin(board_write);
    TT_RUN(test_open_reads_the_shape);
    TT_RUN(test_open_refuses_every_flipped_byte);
    TT_RUN(test_open_refuses_what_is_cut_or_misplaced);
    TT_RUN(test_init_refuses_a_small_arena);
    TT_RUN(test_steps_give_the_integers);
    TT_RUN(test_one_call_equals_many);
    TT_RUN(test_reset_starts_anew);
    TT_RUN(test_saved_state_is_the_specified_one);
    TT_RUN(test_restored_state_goes_on);
    TT_RUN(test_restore_refuses_a_foreign_state);
    return tt_end();
}
