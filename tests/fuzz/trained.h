/* trained.h - what a training is put through, from weights or a checkpoint.
 *
 * As in exercise.h, every buffer is on the heap, of exactly the size that the
 * core asked for, and aligned to 4 bytes and no better.
 */
#ifndef TRAINED_H
#define TRAINED_H

#include "exercise.h"

enum { TOO_LARGE = 1, MOST_ARENA = 1 << 24 };

/* A training with what it lives in. */
typedef struct {
    vg_train t;
    uint8_t *memory, *arena;
    uint32_t size;
    vg_sig *x, *y, *target;
} trained;

static void let_go(trained *k)
{
    free(k->memory);
    free(k->x);
    free(k->y);
    free(k->target);
}

/* Begin; learn null: where m's checkpoint stopped.  A failure must leave all as
 * it was, and nothing to let go of. */
static int begin(trained *k, const vg_model *m, const vg_learn *learn, int fill)
{
    const int32_t need = vg_train_size(m, learn);
    uint8_t *before;
    int err;

    if (need < 0) {
        MUST(need == VG_E_ARG || need == VG_E_SIZE || need == VG_E_FORMAT);
        return need;
    }
    if (need > MOST_ARENA)
        return TOO_LARGE;
    k->size = (uint32_t)need;
    k->memory = exactly(4 + (size_t)need, fill);
    k->arena = k->memory + 4;
    memset(&k->t, fill, sizeof k->t);
    before = exactly((size_t)need, fill);
    MUST(vg_train_init(&k->t, m, learn, k->arena, k->size - 1) == VG_E_SIZE);
    MUST(memcmp(before, k->arena, k->size) == 0);
    err = vg_train_init(&k->t, m, learn, k->arena, k->size);
    if (err) {
        MUST(err == VG_E_FORMAT && !learn);
        MUST(memcmp(before, k->arena, k->size) == 0);
        free(k->memory);
    } else {
        k->x = exactly(sizeof *k->x * m->n_in, 0);
        k->y = exactly(sizeof *k->y * m->n_out, fill);
        k->target = exactly(
            sizeof *k->target * (m->output == VG_SOFTMAX ? 1 : m->n_out), 0);
    }
    free(before);
    return err;
}

static void draw_target(trained *k, uint32_t *seed)
{
    const vg_model *m = &k->t.model;
    const uint32_t kind = draw(seed) % 3;

    if (m->output == VG_SOFTMAX) {
        *k->target = (vg_sig)(draw(seed) % m->n_out);
        return;
    }
    for (uint32_t j = 0; j < m->n_out; j++) {
        const int32_t low = m->output == VG_LOGISTIC ? 0 : INT16_MIN;
        const int32_t high = m->output == VG_LOGISTIC ? VG_ONE : INT16_MAX;
        const uint32_t any = draw(seed) % (uint32_t)(high - low + 1);
        k->target[j] = (vg_sig)(kind == 0        ? low + (int32_t)any
                                : draw(seed) % 2 ? low
                                                 : high);
    }
}

/* One step of anything, with a target or none; sometimes the sequence ends. */
static void one_step(trained *k, uint32_t at, uint32_t *seed)
{
    const vg_model *m = &k->t.model;
    const vg_sig *target = draw(seed) % 4 ? k->target : NULL;
    vg_sig *y = draw(seed) % 4 ? k->y : NULL;
    int got;

    draw_target(k, seed);
    if (k->t.learn.flags & VG_SYMBOLS) {
        const uint32_t symbol = draw(seed) % m->n_in;
        got = vg_train_symbol(&k->t, symbol, target, y);
    } else {
        draw_x(m, at, seed, k->x);
        got = vg_train_step(&k->t, k->x, target, y);
    }
    MUST(got == 0 || got == 1);
    if (y)
        check_y(m, y);
    if (draw(seed) % 8 == 0)
        MUST(vg_train_end(&k->t) >= 0);
    if (draw(seed) % 16 == 0) {
        const uint32_t part = draw(seed) % 3, gate = draw(seed) % 4;
        const int32_t factor =
            draw(seed) % 2 ? (int32_t)draw(seed) * 128 : 65536;
        got = vg_train_rate(&k->t, draw(seed) % (m->n_layers + 1u), gate, part,
                            factor);
        MUST(got == VG_OK || got == VG_E_ARG);
    }
}

/* Every state's number in its range, as far as a checkpoint shows them: it
 * opens and can be gone on from. */
static void go_on_elsewhere(trained *k, uint32_t steps, uint32_t seed)
{
    uint32_t size, size2, seed2 = seed;
    const void *blob = vg_train_checkpoint(&k->t, &size), *blob2;
    uint8_t *copy = exactly(size, 0);
    trained other;
    vg_model m;

    memcpy(copy, blob, size);
    MUST(vg_model_open(&m, copy, size) == VG_OK && m.size == size);
    MUST(begin(&other, &m, NULL, 0xFF) == VG_OK);
    MUST(other.size == k->size);
    for (uint32_t at = 0; at < steps; at++) {
        one_step(k, at, &seed);
        one_step(&other, at, &seed2);
    }
    blob = vg_train_checkpoint(&k->t, &size);
    blob2 = vg_train_checkpoint(&other.t, &size2);
    MUST(size == size2 && memcmp(blob, blob2, size) == 0);
    blob = vg_train_blob(&k->t, &size);
    memcpy(copy, blob, size);
    MUST(vg_model_open(&m, copy, size) == VG_OK && m.size == size);
    let_go(&other);
    free(copy);
}

/* Train a copy of blob[size].  Returns the error, TOO_LARGE, or 0. */
static int train(const uint8_t *blob, uint32_t size, const vg_learn *learn,
                 uint32_t steps, uint32_t seed)
{
    uint8_t *memory = exactly(4 + (size_t)size, 0), *copy = memory + 4;
    trained k;
    vg_model m;
    int err;

    memcpy(copy, blob, size);
    err = vg_model_open(&m, copy, size);
    if (!err)
        err = begin(&k, &m, learn, 0x5A);
    if (!err) {
        MUST(memcmp(copy, blob, size) == 0);
        for (uint32_t at = 0; at < steps; at++)
            one_step(&k, at, &seed);
        go_on_elsewhere(&k, 12, seed);
        let_go(&k);
    }
    free(memory);
    return err;
}

#endif
