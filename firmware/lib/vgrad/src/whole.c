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
static void measure(const vg_model *m, uint32_t steps, uint64_t size[2])
{
    vg_walk w = vg_walk_start(m);
    uint32_t level = 0;

    size[0] = size[1] = 0;
    for (uint32_t k = 0; k < m->n_layers; k++) {
        const int last = k + 1 == m->n_layers;
        uint64_t bytes;
        vg_layer l;
        (void)vg_walk_layer(&w, &l);
        if (l.direction == VG_HALF_FORWARD)
            continue;
        bytes = (2 * (uint64_t)w.n_in * rows_kept(m, steps, last) + 3) &
                ~(uint64_t)3;
        if (bytes > size[level % 2])
            size[level % 2] = bytes;
        level++;
    }
}

int32_t vg_run_whole_size(const vg_model *m, uint32_t steps)
{
    uint64_t size[2];

    if (!m || !steps)
        return VG_E_ARG;
    measure(m, steps, size);
    return size[0] + size[1] > INT32_MAX ? VG_E_SIZE
                                         : (int32_t)(size[0] + size[1]);
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
    const vg_layer *l, *end;
    const vg_sig *in = x;
    uint64_t sizes[2];
    uint32_t level = 0;
    given g;

    if (!r || !x || !steps || !buf)
        return VG_E_ARG;
    if ((uintptr_t)buf % 4)
        return VG_E_ALIGN;
    measure(r->model, steps, sizes);
    if (sizes[0] + sizes[1] > size)
        return VG_E_SIZE;
    l = vg_run_layers(r);
    end = l + r->model->n_layers;
    g.steps = steps;
    g.final = r->model->mode == VG_FINAL;
    do {
        const uint32_t halves = l->direction == VG_HALF_FORWARD ? 2 : 1;
        g.at = (vg_sig *)buf + (level++ % 2 ? sizes[0] / 2 : 0);
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
