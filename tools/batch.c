/* batch.c - many sequences in one call, for the Python binding alone.
 *
 * vgrad.h stands above it; cffi lets go of Python's lock for as long as a call
 * takes.  A thread has a vg_run of its own; the arrays may be shared.
 */
/* cdef: as in vgrad.h. */

typedef struct {
    const uint32_t *first;  /* the row of each sequence's first step */
    const uint32_t *steps;  /* and how many there are; >= 1 where m->whole */
    const vg_sig *x;        /* rows of n_in, or null: */
    const uint16_t *symbol; /* a row is a symbol, all below n_in */
    vg_sig *y;              /* rows of n_out as those of x, or one a sequence */
    vg_sig *logits;         /* as y, or null; null where m->whole */
    uint8_t *image; /* rows of state_size as those of x, or null; as logits */
    uint32_t *saturated; /* one a sequence */
    void *buf;           /* of vg_run_whole, where m->whole */
    uint32_t size;
    uint8_t every; /* y of every step; else of the last; where m->whole
                      that is as its mode has it */
    uint8_t fresh; /* reset before each sequence */
} vg_batch;

/* Run sequences begin to end - 1.  What vg_run_whole and vg_run_save say. */
int vg_batch_run(vg_run *r, const vg_batch *b, uint32_t begin, uint32_t end);

typedef struct {
    const vg_sig *x;        /* rows of n_in, or null: */
    const uint16_t *symbol; /* a row is a symbol */
    const vg_sig *target;   /* rows of n_out, or a class a row for a softmax */
    const uint8_t *known;   /* one a row, or null: all are */
    uint32_t n;             /* sequences, one behind the other */
    uint32_t steps;         /* of each */
} vg_lessons;

/* Learn from each sequence to its end.  How often the weights changed, or what
 * vg_train_steps says of one; then it and those behind it are not learnt. */
int32_t vg_lessons_learn(vg_train *t, const vg_lessons *b);

/* Can this processor run what was compiled with AVX2 and BMI2? */
int vg_has_avx2(void);

/* cdef end */
#include <string.h>

static int batch_steps(vg_run *r, const vg_batch *b, uint32_t k)
{
    const size_t n_in = r->model->n_in, n_out = r->model->n_out;
    const uint32_t state_size = r->model->state_size;
    const uint32_t stop = b->first[k] + b->steps[k];
    int err = VG_OK;

    for (uint32_t row = b->first[k]; row < stop && err >= 0; row++) {
        const int seen = b->every || row + 1 == stop;
        const size_t at = (b->every ? row : k) * n_out;
        vg_sig *const y = seen ? b->y + at : NULL;

        if (b->symbol)
            err = vg_run_symbol(r, b->symbol[row], y);
        else
            err = vg_run_step(r, b->x + row * n_in, y);
        if (seen && b->logits)
            memcpy(b->logits + at, vg_run_logits(r), n_out * sizeof *b->logits);
        if (err >= 0 && b->image)
            err =
                vg_run_save(r, b->image + (size_t)row * state_size, state_size);
    }
    return err;
}

int vg_batch_run(vg_run *r, const vg_batch *b, uint32_t begin, uint32_t end)
{
    const vg_model *m = r->model;
    int err = VG_OK;

    for (uint32_t k = begin; k < end && err >= 0; k++) {
        const size_t row = b->first[k], out = b->every ? row : k;

        if (b->fresh)
            vg_run_reset(r);
        if (m->whole)
            err = vg_run_whole(r, b->x + row * m->n_in, b->steps[k],
                               b->y + out * m->n_out, b->buf, b->size);
        else
            err = batch_steps(r, b, k);
        b->saturated[k] = r->saturated;
    }
    return err < 0 ? err : VG_OK;
}

/* Steps from a row on. */
static int32_t lesson(vg_train *t, const vg_lessons *b, size_t row)
{
    const uint32_t wide = t->model.output == VG_SOFTMAX ? 1 : t->model.n_out;
    const vg_sig *target = b->target + row * wide;
    const uint8_t *known = b->known ? b->known + row : NULL;

    if (b->symbol)
        return vg_train_symbols(t, b->symbol + row, target, known, b->steps);
    return vg_train_steps(t, b->x + row * t->model.n_in, target, known,
                          b->steps);
}

int32_t vg_lessons_learn(vg_train *t, const vg_lessons *b)
{
    int32_t changed = 0;

    for (uint32_t k = 0; k < b->n; k++) {
        const int32_t found = lesson(t, b, (size_t)k * b->steps);

        if (found < 0)
            return found;
        changed += found + vg_train_end(t);
    }
    return changed;
}

int vg_has_avx2(void)
{
#ifdef __x86_64__
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
#else
    return 0;
#endif
}
