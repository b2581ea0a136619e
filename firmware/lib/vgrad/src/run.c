/* run.c - one sequence passing through a model.
 *
 * The arena: vg_readout, vg_layer[n_layers], then for each layer c and
 * z = [x; r], then the gates' arguments and the logits.
 */
#include <string.h>

#include "core.h"

static uint32_t round4(uint32_t n)
{
    return (n + 3) & ~(uint32_t)3;
}

/* Give everything its place in the arena and return the arena's size.  At most
 * 255 layers of fewer than 2^20 bytes: far from overflow.  layers and readout
 * may be null.  The model was checked: no walk can fail. */
static uint32_t lay(const vg_model *m, vg_layer *layers, vg_readout *readout)
{
    uint32_t end =
        (uint32_t)(sizeof(vg_readout) + m->n_layers * sizeof(vg_layer));
    uint32_t most = 0;
    vg_walk w = vg_walk_start(m);
    vg_readout r;

    memset(&r, 0, sizeof r);
    for (uint32_t k = 0; k < m->n_layers; k++) {
        vg_layer l;
        (void)vg_walk_layer(&w, &l);
        l.c = end;
        end += 4 * l.n_c;
        l.z = end;
        end += 2 * round4(l.n_in + l.n_r); /* as rows are padded */
        if (l.map.rows > most)
            most = l.map.rows;
        if (layers)
            layers[k] = l;
    }
    if (vg_has_readout(m))
        (void)vg_walk_readout(&w, m, &r);
    r.a = end;
    end += round4(2 * most);
    r.logits = end;
    if (readout)
        *readout = r;
    return end + round4(2 * (uint32_t)m->n_out);
}

int32_t vg_run_size(const vg_model *m)
{
    return (int32_t)lay(m, NULL, NULL);
}

/* ---- what lies in an arena ------------------------------------------ */

static const vg_readout *readout_of(const vg_run *r)
{
    return (const vg_readout *)(const void *)r->arena;
}

static const vg_layer *layers_of(const vg_run *r)
{
    return (const vg_layer *)(const void *)(readout_of(r) + 1);
}

static int32_t *state_c(const vg_run *r, const vg_layer *l)
{
    return (int32_t *)(void *)(r->arena + l->c / 4);
}

static vg_sig *signals(const vg_run *r, uint32_t at)
{
    return (vg_sig *)(void *)(r->arena + at / 4);
}

static vg_sig *state_r(const vg_run *r, const vg_layer *l)
{
    return signals(r, l->z) + l->n_in;
}

/* ---- a run ---------------------------------------------------------- */

int vg_run_init(vg_run *r, const vg_model *m, void *arena, uint32_t size)
{
    vg_readout *readout;
    uint32_t need;

    if (!r || !m || !arena)
        return VG_E_ARG;
    if ((uintptr_t)arena % 4)
        return VG_E_ALIGN;
    need = (uint32_t)vg_run_size(m);
    if (size < need)
        return VG_E_SIZE;
    readout = arena;
    memset(arena, 0, need);
    (void)lay(m, (vg_layer *)(void *)(readout + 1), readout);
    r->model = m;
    r->arena = arena;
    vg_run_reset(r);
    return VG_OK;
}

/* Set one layer's state from its image. */
static void load(const vg_run *r, const vg_layer *l, const uint8_t *image)
{
    const size_t c_size = 4 * (size_t)l->n_c;

    memcpy(state_c(r, l), image, c_size);
    memcpy(state_r(r, l), image + c_size, 2 * (size_t)l->n_r);
}

void vg_run_reset(vg_run *r)
{
    const vg_layer *l = layers_of(r);

    for (uint32_t k = 0; k < r->model->n_layers; k++, l++)
        if (l->initial) {
            load(r, l, r->model->blob + l->initial);
        } else {
            memset(state_c(r, l), 0, 4 * (size_t)l->n_c);
            memset(state_r(r, l), 0, 2 * (size_t)l->n_r);
        }
    r->saturated = 0;
}

void vg_run_step(vg_run *r, const vg_sig *x, vg_sig *y)
{
    const vg_model *m = r->model;
    const vg_readout *readout = readout_of(r);
    const vg_layer *l = layers_of(r);
    const vg_sig *in = x;

    for (uint32_t k = 0; k < m->n_layers; k++, l++) {
        vg_sig *z = signals(r, l->z);
        memcpy(z, in, 2 * (size_t)l->n_in);
        r->saturated +=
            vg_layer_step(m->blob, l, state_c(r, l), z, signals(r, readout->a));
        in = z + l->n_in;
    }
    if (!y)
        return;
    if (readout->map.rows) {
        r->saturated += vg_readout_step(m->blob, readout, in, x,
                                        signals(r, readout->logits), y);
    } else {
        memcpy(signals(r, readout->logits), in, 2 * (size_t)m->n_out);
        memcpy(y, in, 2 * (size_t)m->n_out);
    }
}

void vg_run_steps(vg_run *r, const vg_sig *x, uint32_t steps, vg_sig *y)
{
    const vg_model *m = r->model;

    for (; steps; steps--, x += m->n_in) {
        vg_run_step(r, x, m->mode == VG_EVERY || steps == 1 ? y : NULL);
        if (y && m->mode == VG_EVERY)
            y += m->n_out;
    }
}

const vg_sig *vg_run_logits(const vg_run *r)
{
    return signals(r, readout_of(r)->logits);
}

/* ---- saved states --------------------------------------------------- */

int32_t vg_run_save(const vg_run *r, void *buf, uint32_t size)
{
    const vg_layer *l;
    uint8_t *p = buf;
    uint32_t crc;

    if (!r || !buf)
        return VG_E_ARG;
    if (size < r->model->state_size)
        return VG_E_SIZE;
    memset(p, 0, r->model->state_size);
    crc = vg_blob_crc(r->model);
    memcpy(p, &crc, 4);
    memcpy(p + 4, &r->saturated, 4);
    p += VG_STATE_HEADER;
    l = layers_of(r);
    for (uint32_t k = 0; k < r->model->n_layers; k++, l++) {
        memcpy(p, state_c(r, l), 4 * (size_t)l->n_c);
        memcpy(p + 4 * (size_t)l->n_c, state_r(r, l), 2 * (size_t)l->n_r);
        p += vg_image_size(l);
    }
    return (int32_t)r->model->state_size;
}

int vg_run_restore(vg_run *r, const void *buf, uint32_t size)
{
    const vg_layer *l;
    const uint8_t *p = buf;
    uint32_t crc;

    if (!r || !buf)
        return VG_E_ARG;
    if (size < r->model->state_size)
        return VG_E_SIZE;
    memcpy(&crc, p, 4);
    if (crc != vg_blob_crc(r->model))
        return VG_E_STATE;
    l = layers_of(r);
    p += VG_STATE_HEADER;
    for (uint32_t k = 0; k < r->model->n_layers; k++, p += vg_image_size(l++))
        if (!vg_image_ok(l, p))
            return VG_E_STATE;
    p = buf;
    memcpy(&r->saturated, p + 4, 4);
    l = layers_of(r);
    p += VG_STATE_HEADER;
    for (uint32_t k = 0; k < r->model->n_layers; k++, p += vg_image_size(l++))
        load(r, l, p);
    return VG_OK;
}
