/* checkpoint.c - the state of a training, as a section of a blob: written,
 * found again, and read once it can be trusted.  BLOB.md is the format.
 */
#include <string.h>

#include "train.h"

enum { TAG = 0x736E726C }; /* lrns */

/* ---- write ------------------------------------------------------------ */

static void put32(uint8_t *p, uint32_t x)
{
    memcpy(p, &x, 4);
}

static const void *seal(vg_train *t, uint32_t end, uint32_t *size)
{
    uint8_t *blob = vg_at(t, 0);

    put32(blob + VG_AT_SIZE, end + 4);
    put32(blob + end, vg_crc32(blob, end));
    if (size)
        *size = end + 4;
    return blob;
}

static const void *nothing(uint32_t *size)
{
    if (size)
        *size = 0;
    return NULL;
}

VG_ONCE const void *vg_train_blob(vg_train *t, uint32_t *size)
{
    return vg_begun(t) ? seal(t, vg_plan_of(t)->plain, size) : nothing(size);
}

VG_ONCE const void *vg_train_checkpoint(vg_train *t, uint32_t *size)
{
    const vg_plan *p;
    uint8_t *blob;
    vg_head head;

    if (!VG_CHECKPOINTS || !vg_begun(t))
        return nothing(size);
    p = vg_plan_of(t);
    blob = vg_at(t, 0);
    memset(&head, 0, sizeof head);
    head.version = VG_STATE_VERSION;
    head.learn = t->learn;
    head.sequences = t->sequences;
    head.steps = t->steps;
    head.updates = t->updates;
    head.clipped = t->clipped;
    head.falls = t->falls;
    head.saturated = t->saturated;
    head.norm_q16 = t->norm_q16;
    head.loss_q16 = t->loss_q16;
    head.run_saturated = t->run.saturated;
    head.now = p->now;
    put32(blob + p->plain, TAG);
    put32(blob + p->plain + 4, p->end - p->data);
    memcpy(blob + p->data, &head, sizeof head);
    vg_run_store(&t->run, blob + p->images);
    return seal(t, p->end, size);
}

/* ---- find ------------------------------------------------------------- */

VG_ONCE const uint8_t *vg_state_find(const vg_model *m, uint32_t *sections,
                                     uint32_t *length)
{
    const uint32_t end = m->size - 4;
    uint32_t at = *sections, next;

    for (; at < end; at = next) {
        const uint8_t *p = m->blob + at;
        *length = get32(p + 4);
        next = at + 8 + ((*length + 3) & ~3u);
        if (get32(p) == TAG && next == end) {
            *sections = at;
            return p + 8;
        }
    }
    *sections = end;
    return NULL;
}

/* ---- trust ------------------------------------------------------------ */

/* A list of n symbols below n_in, each once; marks says where a symbol stands
 * in it, counted from 1. */
static int list_ok(const uint8_t *list, const uint8_t *marks, uint32_t n,
                   uint32_t n_in)
{
    uint32_t marked = 0;

    if (n > n_in)
        return 0;
    for (uint32_t k = 0; k < n; k++) {
        const uint32_t symbol = get16(list + 2 * (size_t)k);
        if (symbol >= n_in || get16(marks + 2 * (size_t)symbol) != k + 1)
            return 0;
    }
    for (uint32_t k = 0; k < n_in; k++)
        marked += get16(marks + 2 * (size_t)k) != 0;
    return marked == n;
}

static int lists_ok(const vg_model *m, const vg_learn *learn, const vg_plan *p,
                    const uint8_t *at, const vg_running *now)
{
    const int symbols = VG_HAS_SYMBOLS && learn->flags & VG_SYMBOLS;

    if (symbols && learn->method == VG_RTRL97
            ? !list_ok(at + p->seen, at + p->seen_mark, now->n_seen, m->n_in)
            : now->n_seen != 0)
        return 0;
    if (p->fresh != p->fresh_mark
            ? !list_ok(at + p->fresh, at + p->fresh_mark, now->n_fresh, m->n_in)
            : now->n_fresh != 0)
        return 0;
    for (uint32_t k = 0; symbols && k < learn->k2; k++)
        if (get16(at + p->symbol_tape + 2 * (size_t)k) >= m->n_in)
            return 0;
    return 1;
}

/* Are the steps on the tape, and those since the last update, possible? */
static int running_ok(const vg_learn *learn, const vg_running *now)
{
    if (now->hot > 1 || now->hot > now->pending ||
        (learn->k1 && now->pending >= learn->k1))
        return 0;
    if (learn->method != VG_TBPTT)
        return !now->tape_at && !now->tape_len;
    return now->tape_len < learn->k2
               ? now->tape_at == now->tape_len && now->pending <= now->tape_len
               : now->tape_len == learn->k2 && now->tape_at < learn->k2;
}

VG_ONCE int vg_state_ok(const vg_model *m, const vg_learn *learn,
                        const vg_plan *p, const uint8_t *state)
{
    const uint8_t *at = state - p->data; /* arena offsets as in the plan */
    const uint8_t *image = at + p->images;
    vg_walk w = vg_walk_start(m);
    vg_layer l;
    vg_head head;

    memcpy(&head, state, sizeof head);
    if (!running_ok(learn, &head.now) || !lists_ok(m, learn, p, at, &head.now))
        return 0;
    for (uint32_t k = 0; k < m->n_layers; k++) {
        (void)vg_walk_layer(&w, &l);
        if (!vg_image_ok(&l, image))
            return 0;
        image += vg_image_size(&l);
    }
    return 1;
}

/* ---- read ------------------------------------------------------------- */

VG_ONCE void vg_state_resume(vg_train *t)
{
    vg_plan *p = vg_plan_of(t);
    vg_head head;

    memcpy(&head, vg_at(t, p->data), sizeof head);
    t->sequences = head.sequences;
    t->steps = head.steps;
    t->updates = head.updates;
    t->clipped = head.clipped;
    t->falls = head.falls;
    t->saturated = head.saturated;
    t->norm_q16 = head.norm_q16;
    t->loss_q16 = head.loss_q16;
    p->now = head.now;
    vg_run_load(&t->run, vg_at(t, p->images));
    t->run.saturated = head.run_saturated;
}
