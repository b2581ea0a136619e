/* whole.c - a whole sequence through a model, layer by layer, so that layers
 * may take its steps from the last to the first.
 *
 * The caller's buffer has what the layers give, of even levels in one half, of
 * odd ones in the other; a level is a layer, or both halves of a bidirectional
 * one.  Of the last level it has as many steps as y.
 */
#include <string.h>

#include "core.h"

static uint32_t rows_kept(const vg_model *m, uint32_t steps, int last)
{
    return last && m->mode != VG_EVERY ? 1 : steps;
}

/* Bytes for even and odd levels: each < 2^17 2^32 2. */
typedef struct {
    uint64_t size[2];
    uint32_t level;
    uint32_t n_half; /* cells of the forward half before a layer; 0: none */
} levels;

/* One layer more. */
static void measure(levels *s, const vg_model *m, const vg_layer *l,
                    uint32_t steps, int last)
{
    const uint64_t signals =
        (uint64_t)(s->n_half + l->n) * rows_kept(m, steps, last);
    const uint64_t bytes = (2 * signals + 3) & ~(uint64_t)3;

    if (l->direction == VG_HALF_FORWARD) {
        s->n_half = l->n;
        return;
    }
    if (bytes > s->size[s->level % 2])
        s->size[s->level % 2] = bytes;
    s->level++;
    s->n_half = 0;
}

int32_t vg_run_whole_size(const vg_model *m, uint32_t steps)
{
    levels s = {{0, 0}, 0, 0};
    vg_walk w;

    if (!m || !steps)
        return VG_E_ARG;
    w = vg_walk_start(m);
    for (uint32_t k = 1; k <= m->n_layers; k++) {
        vg_layer l;
        (void)vg_walk_layer(&w, &l);
        measure(&s, m, &l, steps, k == m->n_layers);
    }
    return s.size[0] + s.size[1] > INT32_MAX ? VG_E_SIZE
                                             : (int32_t)(s.size[0] + s.size[1]);
}

/* What a level gives: rows of width signals, one a step, or one in all. */
typedef struct {
    vg_sig *at;
    uint32_t width;
    uint32_t steps;
    uint32_t rows;
    int final; /* the one row is of each layer's own end */
} given;

/* One layer over all steps of in. */
static void pass(vg_run *r, const vg_layer *l, const vg_sig *in, const given *g,
                 vg_sig *to)
{
    const int back =
        l->direction == VG_REVERSE || l->direction == VG_HALF_REVERSE;
    const uint32_t kept = back && g->final ? 0 : g->steps - 1;

    for (uint32_t k = 0; k < g->steps; k++) {
        const uint32_t t = back ? g->steps - 1 - k : k;
        memcpy(vg_run_signals(r, l->z), in + (size_t)t * l->n_in,
               2 * (size_t)l->n_in);
        vg_layer_step(r, l, NULL);
        if (g->rows > 1 || t == kept)
            memcpy(to + (size_t)(g->rows > 1 ? t : 0) * g->width,
                   vg_run_out(r, l), 2 * (size_t)l->n);
    }
}

static void read_out(vg_run *r, const given *g, const vg_sig *x, vg_sig *y)
{
    const vg_model *m = r->model;

    for (uint32_t k = 0; k < g->rows; k++) {
        const uint32_t t = g->rows > 1 ? k : g->steps - 1;
        const vg_input in = {x + (size_t)t * m->n_in, 0, 0};
        vg_readout_step(r, g->at + (size_t)k * g->width, &in,
                        y + (size_t)k * m->n_out);
    }
}

int vg_run_whole(vg_run *r, const vg_sig *x, uint32_t steps, vg_sig *y,
                 void *buf, uint32_t size)
{
    levels s = {{0, 0}, 0, 0};
    const vg_layer *l, *end;
    const vg_sig *in = x;
    uint32_t level = 0;
    given g;

    if (!r || !x || !steps || !buf)
        return VG_E_ARG;
    if ((uintptr_t)buf % 4)
        return VG_E_ALIGN;
    end = vg_run_layers(r) + r->model->n_layers;
    for (l = vg_run_layers(r); l < end; l++)
        measure(&s, r->model, l, steps, l + 1 == end);
    if (s.size[0] + s.size[1] > size)
        return VG_E_SIZE;
    l = vg_run_layers(r);
    g.steps = steps;
    g.final = r->model->mode == VG_FINAL;
    do {
        const uint32_t halves = l->direction == VG_HALF_FORWARD ? 2 : 1;
        g.at = (vg_sig *)buf + (level++ % 2 ? s.size[0] / 2 : 0);
        g.width = l[0].n + (halves == 2 ? l[1].n : 0u);
        g.rows = rows_kept(r->model, steps, l + halves == end);
        pass(r, l, in, &g, g.at);
        if (halves == 2)
            pass(r, l + 1, in, &g, g.at + l->n);
        in = g.at;
        l += halves;
    } while (l < end);
    if (y)
        read_out(r, &g, x, y);
    return VG_OK;
}
