/* exercise.h - what a hostile blob is put through.
 *
 * Every buffer is on the heap and of exactly the size that the core asked for,
 * so that the address sanitizer sees the first byte outside; blob and arena are
 * aligned to 4 bytes and no better.  A broken promise of vgrad.h aborts.
 */
#ifndef EXERCISE_H
#define EXERCISE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vgrad.h"

#define MUST(truth)                                                            \
    do {                                                                       \
        if (!(truth)) {                                                        \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__,         \
                    #truth);                                                   \
            abort();                                                           \
        }                                                                      \
    } while (0)

enum { STEPS = 10, IMAGES = 12, WHOLE = 3 };

static uint32_t draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void *exactly(size_t size, int fill)
{
    void *p = malloc(size);

    MUST(p != NULL);
    memset(p, fill, size);
    return p;
}

/* Random signals, or all at one limit or the other. */
static void draw_x(const vg_model *m, uint32_t t, uint32_t *seed, vg_sig *x)
{
    for (uint32_t k = 0; k < m->n_in; k++) {
        const uint32_t kind = t % 5;
        const uint32_t up = kind < 2    ? kind
                            : kind == 2 ? k % 2
                                        : draw(seed) % 2;
        x[k] = up ? INT16_MAX : INT16_MIN;
        if (kind == 4)
            x[k] = (vg_sig)((int32_t)(draw(seed) & 0xFFFF) - 32768);
    }
}

static void check_y(const vg_model *m, const vg_sig *y)
{
    for (uint32_t k = 0; k < m->n_out; k++)
        MUST(m->output == VG_LINEAR || (y[k] >= 0 && y[k] <= VG_ONE));
}

/* A sequence of n steps, whose y is y[n][n_out] or y[n_out], through
 * vg_run_whole with a buffer of exactly its size. */
static void run_whole(vg_run *r, const vg_sig *x, uint32_t n, vg_sig *y)
{
    const int32_t size = vg_run_whole_size(r->model, n);
    uint8_t *memory = exactly(4 + (size_t)size, 0x5A), *buf = memory + 4;

    MUST(size > 0);
    MUST(vg_run_whole(r, x, n, y, buf, (uint32_t)size - 1) == VG_E_SIZE);
    MUST(vg_run_whole(r, x, n, y, buf, (uint32_t)size) == VG_OK);
    free(memory);
}

/* One step, of a model with a reversed layer as a sequence of one. */
static void step(vg_run *r, const vg_sig *x, vg_sig *y)
{
    if (r->model->whole) {
        MUST(vg_run_step(r, x, y) == VG_E_ARG);
        MUST(vg_run_steps(r, x, 1, y) == VG_E_ARG);
        MUST(vg_run_symbol(r, 0, y) == VG_E_ARG);
        run_whole(r, x, 1, y);
    } else {
        MUST(vg_run_step(r, x, y) == VG_OK);
    }
}

/* Several steps at once, which are the same as in one call without a layer that
 * is reversed. */
static void whole_sequence(vg_run *r, uint32_t *seed)
{
    const vg_model *m = r->model;
    const uint32_t rows = m->mode == VG_EVERY ? WHOLE : 1;
    const size_t y_size = sizeof(vg_sig) * rows * m->n_out;
    vg_sig *x = exactly(sizeof *x * WHOLE * m->n_in, 0);
    vg_sig *y = exactly(y_size, 0x11), *same = exactly(y_size, 0x22);
    uint8_t *before = exactly(m->state_size, 0);
    uint8_t *after = exactly(m->state_size, 0);

    for (uint32_t t = 0; t < WHOLE; t++)
        draw_x(m, t + 2, seed, x + t * (size_t)m->n_in);
    MUST(vg_run_save(r, before, m->state_size) == (int32_t)m->state_size);
    run_whole(r, x, WHOLE, y);
    check_y(m, y);
    MUST(vg_run_save(r, after, m->state_size) == (int32_t)m->state_size);
    MUST(vg_run_restore(r, before, m->state_size) == VG_OK);
    run_whole(r, x, WHOLE, NULL);
    MUST(vg_run_restore(r, before, m->state_size) == VG_OK);
    if (m->whole)
        run_whole(r, x, WHOLE, same);
    else
        MUST(vg_run_steps(r, x, WHOLE, same) == VG_OK);
    MUST(memcmp(y, same, y_size) == 0);
    MUST(vg_run_save(r, before, m->state_size) == (int32_t)m->state_size);
    MUST(memcmp(before, after, m->state_size) == 0);
    free(x);
    free(y);
    free(same);
    free(before);
    free(after);
}

/* A state that was damaged is refused and changes nothing, or it runs. */
static void restore_damaged(vg_run *r, uint32_t *seed, vg_sig *x, vg_sig *y)
{
    const uint32_t size = r->model->state_size;
    uint8_t *good = exactly(size, 0), *bad = exactly(size, 0);
    uint8_t *now = exactly(size, 0);

    for (uint32_t k = 0; k < IMAGES; k++) {
        MUST(vg_run_save(r, good, size) == (int32_t)size);
        memcpy(bad, good, size);
        for (uint32_t n = draw(seed) % 4; n < 4; n++)
            bad[draw(seed) % size] ^= (uint8_t)(1u << draw(seed) % 8);
        if (k % 3 == 2) /* everything behind the CRC at a limit */
            memset(bad + 4, draw(seed) % 2 ? 0xC0 : 0x3F, size - 4);
        MUST(vg_run_restore(r, bad, size - 1) == VG_E_SIZE);
        if (vg_run_restore(r, bad, size) == VG_OK) {
            MUST(vg_run_save(r, now, size) == (int32_t)size);
            MUST(memcmp(bad, now, size) == 0);
            draw_x(r->model, k, seed, x);
            step(r, x, y);
            check_y(r->model, y);
        } else {
            MUST(vg_run_save(r, now, size) == (int32_t)size);
            MUST(memcmp(good, now, size) == 0);
        }
    }
    free(good);
    free(bad);
    free(now);
}

/* Steps from a fresh arena; the state after them.  Owned by the caller. */
static uint8_t *run_through(const vg_model *m, int fill, uint32_t seed)
{
    const uint32_t need = (uint32_t)vg_run_size(m);
    uint8_t *memory = exactly(4 + need, fill), *arena = memory + 4;
    vg_sig *x = exactly(sizeof *x * m->n_in, 0);
    vg_sig *y = exactly(sizeof *y * m->n_out, fill);
    uint8_t *state = exactly(m->state_size, fill);
    vg_run run;

    MUST(vg_run_init(&run, m, arena, need - 1) == VG_E_SIZE);
    MUST(vg_run_init(&run, m, arena, need) == VG_OK);
    for (uint32_t t = 0; t < STEPS; t++) {
        draw_x(m, t, &seed, x);
        step(&run, x, t == 4 ? NULL : y);
        if (t != 4) {
            const vg_sig *logits = vg_run_logits(&run);
            check_y(m, y);
            MUST(m->output != VG_LINEAR ||
                 memcmp(logits, y, sizeof *y * m->n_out) == 0);
        }
    }
    MUST(vg_run_save(&run, state, m->state_size) == (int32_t)m->state_size);
    MUST(vg_run_restore(&run, state, m->state_size) == VG_OK);
    whole_sequence(&run, &seed);
    restore_damaged(&run, &seed, x, y);
    vg_run_reset(&run);
    MUST(run.saturated == 0);
    free(memory);
    free(x);
    free(y);
    return state;
}

static void scale(const vg_model *m, uint32_t *seed)
{
    int32_t *count = exactly(sizeof *count * m->n_in, 0);
    vg_sig *x = exactly(sizeof *x * m->n_in, 0);

    for (uint32_t t = 0; t < 4; t++) {
        for (uint32_t k = 0; k < m->n_in; k++)
            count[k] = t == 0   ? INT32_MIN
                       : t == 1 ? INT32_MAX
                                : (int32_t)(draw(seed) % 65536) - 32768;
        MUST(vg_model_scale(m, count, x) <= m->n_in);
    }
    free(count);
    free(x);
}

/* Open a copy of blob[size]; what opens is used in every way.  Returns what
 * vg_model_open did. */
static int exercise(const uint8_t *blob, uint32_t size, uint32_t seed)
{
    uint8_t *memory = exactly(4 + (size_t)size, 0), *copy = memory + 4;
    uint8_t *states[2];
    vg_model m, before;
    int err;

    if (size)
        memcpy(copy, blob, size);
    memset(&m, 0x5A, sizeof m);
    before = m;
    err = vg_model_open(&m, copy, size);
    MUST(err <= 0 && err >= VG_E_CRC);
    if (err) {
        MUST(memcmp(&m, &before, sizeof m) == 0);
        free(memory);
        return err;
    }
    MUST(m.size <= size && m.n_in && m.n_out && m.n_layers);
    MUST(vg_run_size(&m) > 0);
    scale(&m, &seed);
    states[0] = run_through(&m, 0x00, seed);
    states[1] = run_through(&m, 0xFF, seed);
    MUST(memcmp(states[0], states[1], m.state_size) == 0);
    MUST(memcmp(copy, blob, size) == 0);
    free(states[0]);
    free(states[1]);
    free(memory);
    return err;
}

#endif
