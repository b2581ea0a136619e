/* run.c - one sequence passing through a model.
 *
 * Its places: vg_readout, vg_layer[n_layers], at the front of vg_run_init's
 * arena or in flash.  The arena behind them: for each layer c and z = [x; r],
 * then the gates' values with what may lie behind them, where the readout may
 * have its [h; x] afterwards, the logits, and in the layout words room for a
 * vg_wide.
 */
#include <string.h>

#include "core.h"

static uint32_t round4(uint32_t n)
{
    return (n + 3) & ~(uint32_t)3;
}

/* Bytes of places. */
static uint32_t places_size(const vg_model *m)
{
    return (uint32_t)(sizeof(vg_readout) + m->n_layers * sizeof(vg_layer));
}

/* Give everything its place in the arena behind the places and return the
 * bytes it takes there.  At most 255 layers of fewer than 2^20 bytes: far from
 * overflow.  layers and readout may be null.  The model was checked: no walk
 * can fail. */
static uint32_t lay(const vg_model *m, vg_layer *layers, vg_readout *readout)
{
    uint32_t end = 0, most = 0, widest = 0, at = 0;
    vg_walk w = vg_walk_start(m);
    vg_readout r;

    memset(&r, 0, sizeof r);
    for (uint32_t k = 0; k < m->n_layers; k++) {
        vg_layer l;
        uint32_t columns;
        (void)vg_walk_layer(&w, &l);
        l.c = end;
        end += 4 * l.n_c;
        l.z = end;
        end += 2 * round4(l.n_in + l.n_r); /* as rows are padded */
        if (l.rows + vg_n_extra(&l) > most)
            most = l.rows + vg_n_extra(&l);
        at = vg_readout_at(&l);
        columns = l.n_in + (l.n_z - l.n_in > l.n ? l.n_z - l.n_in : l.n) + 1;
        if (columns > widest)
            widest = columns;
        if (layers)
            layers[k] = l;
    }
    if (vg_has_readout(m))
        (void)vg_walk_readout(&w, m, &r);
    if (r.map.columns > widest)
        widest = r.map.columns;
    if (at + vg_stride(&r.map) > most)
        most = at + vg_stride(&r.map);
    r.a = end;
    end += round4(2 * most);
    r.logits = end;
    if (readout)
        *readout = r;
    end += round4(2 * (uint32_t)m->n_out);
    return VG_HAS_LAYOUT(VG_WORDS) && w.group > 1
               ? end + vg_wide_size(widest, w.bits)
               : end;
}

VG_ONCE int32_t vg_run_size(const vg_model *m)
{
    return (int32_t)(places_size(m) + lay(m, NULL, NULL));
}

/* ---- a run ---------------------------------------------------------- */

/* Begin in an arena of so many bytes: all of it is zero, and then the states
 * are the first.  Volatile, or it were a memset, for this alone. */
static void begin(vg_run *r, const vg_model *m, void *arena, uint32_t size)
{
    volatile uint32_t *word = arena;

    for (uint32_t k = 0; k < size / 4; k++)
        word[k] = 0;
    r->model = m;
    r->arena = arena;
    r->keeps_values = 0;
    vg_run_reset(r);
}

VG_ONCE int vg_run_init(vg_run *r, const vg_model *m, void *arena,
                        uint32_t size)
{
    vg_readout *readout = arena;
    uint32_t need;

    if (!r || !m || !arena)
        return VG_E_ARG;
    if ((uintptr_t)arena % 4)
        return VG_E_ALIGN;
    need = (uint32_t)vg_run_size(m);
    if (size < need)
        return VG_E_SIZE;
    (void)lay(m, (vg_layer *)(void *)(readout + 1), readout);
    r->places = arena;
    begin(r, m, (uint8_t *)arena + places_size(m), need - places_size(m));
    return VG_OK;
}

/* Has this build what the map needs? */
static int has_map(const vg_map *m)
{
    return VG_HAS_WEIGHTS(m->bits) && VG_HAS_LAYOUT(m->group > 1);
}

/* Has this build what the model needs?  What opening one looks at, too. */
static int has_all(const vg_opened *o)
{
    const vg_readout *readout = (const void *)o->places;
    const vg_layer *l = (const void *)(readout + 1);

    for (uint32_t k = 0; k < o->model.n_layers; k++, l++)
        if (!VG_HAS_CELL(l->cell) || !has_map(l->gate) ||
            (!VG_HAS_BLOCKS && l->block > 1))
            return 0;
    return !readout->map.rows || VG_HAS_OUTPUT(readout->output);
}

VG_ONCE int vg_run_init_opened(vg_run *r, const vg_opened *o, void *arena,
                               uint32_t size)
{
    if (!r || !o || !arena)
        return VG_E_ARG;
    if ((uintptr_t)arena % 4)
        return VG_E_ALIGN;
    if (size < o->size)
        return VG_E_SIZE;
    if (!has_all(o))
        return VG_E_FORMAT;
    r->places = o->places;
    begin(r, &o->model, arena, o->size);
    return VG_OK;
}

/* Set one layer's state from its image; null: zeros. */
static VG_ONCE void load(const vg_run *r, const vg_layer *l,
                         const uint8_t *image)
{
    int32_t *c = vg_run_c(r, l);
    vg_sig *h = vg_run_r(r, l);
    uint32_t at = 0;

    for (uint32_t k = 0; k < l->n_c; k++, at += 4)
        c[k] = image ? (int32_t)get32(image + at) : 0;
    for (uint32_t k = 0; k < l->n_r; k++, at += 2)
        h[k] = image ? (vg_sig)get16(image + at) : 0;
}

void vg_run_reset(vg_run *r)
{
    const vg_layer *l = vg_run_layers(r);

    for (uint32_t k = 0; k < r->model->n_layers; k++, l++)
        load(r, l, l->initial ? r->model->blob + l->initial : NULL);
    r->saturated = 0;
}

static VG_WITHIN void run_step(vg_run *r, const vg_input *x, vg_sig *y)
{
    const vg_layer *l = vg_run_layers(r);
    const vg_sig *in = x->x;

    for (uint32_t k = 0; k < r->model->n_layers; k++, l++) {
        if (!VG_HAS_SYMBOLS || in)
            vg_copy(vg_run_signals(r, l->z), in, l->n_in);
        vg_layer_step(r, l, VG_HAS_SYMBOLS && !in ? x : NULL);
        in = vg_run_out(r, l);
    }
    if (y)
        vg_readout_step(r, in, x, y);
}

int vg_run_step(vg_run *r, const vg_sig *x, vg_sig *y)
{
    const vg_input in = {x, 0, 0};

    if (r->model->whole)
        return VG_E_ARG;
    run_step(r, &in, y);
    return VG_OK;
}

int vg_run_symbol(vg_run *r, uint32_t symbol, vg_sig *y)
{
    const vg_input in = {NULL, symbol, (int32_t)1 << r->model->x_exp};

    if (!VG_HAS_SYMBOLS || r->model->whole || symbol >= r->model->n_in)
        return VG_E_ARG;
    run_step(r, &in, y);
    return VG_OK;
}

int vg_run_steps(vg_run *r, const vg_sig *x, uint32_t steps, vg_sig *y)
{
    const vg_model *m = r->model;

    if (m->whole)
        return VG_E_ARG;
    for (; steps; steps--, x += m->n_in) {
        (void)vg_run_step(r, x, m->mode == VG_EVERY || steps == 1 ? y : NULL);
        if (y && m->mode == VG_EVERY)
            y += m->n_out;
    }
    return VG_OK;
}

int vg_run_symbols(vg_run *r, const uint16_t *symbol, uint32_t steps, vg_sig *y)
{
    const vg_model *m = r->model;

    if (!VG_HAS_SYMBOLS || m->whole)
        return VG_E_ARG;
    for (uint32_t k = 0; k < steps; k++)
        if (symbol[k] >= m->n_in)
            return VG_E_ARG;
    for (; steps; steps--, symbol++) {
        (void)vg_run_symbol(r, *symbol,
                            m->mode == VG_EVERY || steps == 1 ? y : NULL);
        if (y && m->mode == VG_EVERY)
            y += m->n_out;
    }
    return VG_OK;
}

const vg_sig *vg_run_logits(const vg_run *r)
{
    return vg_run_signals(r, vg_run_readout(r)->logits);
}

/* ---- saved states --------------------------------------------------- */

VG_ONCE void vg_run_store(const vg_run *r, uint8_t *p)
{
    const vg_layer *l = vg_run_layers(r);

    for (uint32_t k = 0; k < r->model->n_layers; k++, l++) {
        memset(p, 0, vg_image_size(l));
        memcpy(p, vg_run_c(r, l), 4 * (size_t)l->n_c);
        memcpy(p + 4 * (size_t)l->n_c, vg_run_r(r, l), 2 * (size_t)l->n_r);
        p += vg_image_size(l);
    }
}

VG_ONCE void vg_run_load(const vg_run *r, const uint8_t *p)
{
    const vg_layer *l = vg_run_layers(r);

    for (uint32_t k = 0; k < r->model->n_layers; k++, p += vg_image_size(l++))
        load(r, l, p);
}

VG_ONCE int32_t vg_run_save(const vg_run *r, void *buf, uint32_t size)
{
    uint8_t *p = buf;
    uint32_t crc;

    if (!r || !buf)
        return VG_E_ARG;
    if (size < r->model->state_size)
        return VG_E_SIZE;
    crc = vg_blob_crc(r->model);
    memcpy(p, &crc, 4);
    memcpy(p + 4, &r->saturated, 4);
    vg_run_store(r, p + VG_STATE_HEADER);
    return (int32_t)r->model->state_size;
}

VG_ONCE int vg_run_restore(vg_run *r, const void *buf, uint32_t size)
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
    l = vg_run_layers(r);
    p += VG_STATE_HEADER;
    for (uint32_t k = 0; k < r->model->n_layers; k++, p += vg_image_size(l++))
        if (!vg_image_ok(l, p))
            return VG_E_STATE;
    p = buf;
    memcpy(&r->saturated, p + 4, 4);
    vg_run_load(r, p + VG_STATE_HEADER);
    return VG_OK;
}
