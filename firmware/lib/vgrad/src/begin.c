/* begin.c - a training begins: from weights, or where a checkpoint stopped; and
 * checkpoints are sealed.
 */
#include <string.h>

#include "train.h"

enum { TAG = 0x736E726C, HEADROOM_HI = 4096, HEADROOM_BIAS = (1 << 28) + 1 };

/* ---- what is admitted ------------------------------------------------ */

static int rule_ok(const vg_learn *l)
{
    if (l->rule > VG_RMSPROP || l->flags > (VG_NESTEROV | VG_SYMBOLS) ||
        ((l->flags & VG_NESTEROV) && l->rule != VG_MOMENTUM))
        return 0;
    if (l->rate_q24 <= 0 || l->clip_q16 < 0 || l->decay_q14 < 0 ||
        l->decay_q14 >= VG_ONE || (l->rule == VG_SGD && l->decay_q14))
        return 0;
    return l->rule == VG_RMSPROP ? l->epsilon_q24 > 0 : !l->epsilon_q24;
}

static int loss_ok(const vg_model *m, const vg_learn *l)
{
    if (l->loss == VG_MSE)
        return m->output != VG_SOFTMAX;
    return l->loss == VG_CROSS_ENTROPY && m->output != VG_LINEAR;
}

static int method_ok(const vg_model *m, const vg_learn *l)
{
    vg_walk w = vg_walk_start(m);
    vg_layer first;

    if (l->method == VG_TBPTT)
        return l->k2 && l->k1 <= l->k2;
    (void)vg_walk_layer(&w, &first);
    return l->method == VG_RTRL97 && !l->k2 && l->k1 <= 1 && m->n_layers == 1 &&
           first.n_c;
}

static int learn_ok(const vg_model *m, const vg_learn *l)
{
    const uint32_t layers = m->n_layers < VG_FROZEN_READOUT
                                ? ((uint32_t)1 << m->n_layers) - 1
                                : 0x7FFFFFFF;
    const uint32_t readout =
        vg_has_readout(m) ? (uint32_t)1 << VG_FROZEN_READOUT : 0;

    return rule_ok(l) && loss_ok(m, l) && method_ok(m, l) &&
           !(l->frozen & ~(layers | readout));
}

/* ---- the training state in a blob ------------------------------------ */

/* Where the sections end that stay; a training's state is the last section, or
 * there is none: then *data is null. */
static void find_state(const vg_model *m, uint32_t *sections,
                       const uint8_t **data, uint32_t *length)
{
    vg_walk w = vg_walk_start(m);
    vg_layer l;
    vg_readout r;

    for (uint32_t k = 0; k < m->n_layers; k++)
        (void)vg_walk_layer(&w, &l);
    if (vg_has_readout(m))
        (void)vg_walk_readout(&w, m, &r);
    *data = NULL;
    *sections = w.end;
    while (w.at < w.end) {
        const uint8_t *p = m->blob + w.at;
        const uint32_t size = 8 + ((get32(p + 4) + 3) & ~3u);
        if (get32(p) == TAG && w.at + size == w.end) {
            *sections = w.at;
            *data = p + 8;
            *length = get32(p + 4);
        }
        w.at += size;
    }
}

/* Settings and plan for training m: by learn, or by what m brings. */
typedef struct {
    vg_learn learn;
    vg_plan plan;
    uint32_t sections;
    const uint8_t *data; /* the state to go on from; null: a new training */
} beginning;

static int prepare(const vg_model *m, const vg_learn *learn, beginning *b)
{
    uint32_t length = 0;
    int err;

    find_state(m, &b->sections, &b->data, &length);
    if (learn) {
        b->data = NULL;
        b->learn = *learn;
    } else {
        if (!b->data || length < sizeof(vg_head) || m->blob[16] != 16)
            return VG_E_FORMAT;
        memcpy(&b->learn, b->data, sizeof b->learn);
    }
    if (!learn_ok(m, &b->learn))
        return learn ? VG_E_ARG : VG_E_FORMAT;
    err = vg_plan_lay(m, &b->learn, vg_widen_size(m, b->sections), &b->plan,
                      NULL, NULL);
    if (err)
        return err;
    return b->data && length != b->plan.end - b->plan.data ? VG_E_FORMAT
                                                           : VG_OK;
}

int32_t vg_train_size(const vg_model *m, const vg_learn *learn)
{
    beginning b;
    int err;

    if (!m)
        return VG_E_ARG;
    err = prepare(m, learn, &b);
    return err ? err : (int32_t)b.plan.size;
}

/* ---- a checkpoint that can be trusted --------------------------------- */

static int indices_ok(const uint8_t *p, uint32_t count, uint32_t limit)
{
    for (uint32_t k = 0; k < count; k++)
        if (get16(p + 2 * (size_t)k) >= limit)
            return 0;
    return 1;
}

/* Whatever the bytes say, nothing must be read or written elsewhere, and no
 * number leave its range.  b->data stands for b->plan.data. */
static int state_ok(const vg_model *m, const beginning *b)
{
    const vg_plan *p = &b->plan;
    const uint8_t *at = b->data - p->data; /* arena offsets as in the plan */
    vg_walk w = vg_walk_start(m);
    const uint8_t *image = at + p->images;
    vg_layer l;
    vg_head head;

    memcpy(&head, b->data, sizeof head);
    if (b->learn.method == VG_TBPTT
            ? head.now.tape_at >= b->learn.k2 || head.now.tape_len > b->learn.k2
            : head.now.tape_at || head.now.tape_len)
        return 0;
    if (head.now.n_seen > m->n_in || head.now.n_fresh > m->n_in)
        return 0;
    for (uint32_t k = 0; k < m->n_layers; k++) {
        (void)vg_walk_layer(&w, &l);
        if (!vg_image_ok(&l, image))
            return 0;
        image += vg_image_size(&l);
    }
    if (!(b->learn.flags & VG_SYMBOLS))
        return !head.now.n_seen && !head.now.n_fresh;
    if (b->learn.method == VG_TBPTT &&
        !indices_ok(at + p->seen_mark, m->n_in, 1))
        return 0; /* heads of chains, empty between updates */
    return indices_ok(at + p->seen, head.now.n_seen, m->n_in) &&
           indices_ok(at + p->fresh, head.now.n_fresh, m->n_in) &&
           indices_ok(at + p->symbol_tape, b->learn.k2, m->n_in);
}

/* ---- begin ------------------------------------------------------------ */

/* Fill the arena of an aligned, large enough training.  The blob in it may be
 * the one that m views. */
static void lay_out(vg_train *t, const vg_model *m, const beginning *b)
{
    const vg_plan *p = &b->plan;
    uint8_t *blob = vg_at(t, 0);
    vg_plan *plan;

    if (b->data)
        memmove(blob, m->blob, p->end);
    else
        vg_widen(m, b->sections, blob);
    t->model = *m;
    t->model.blob = blob;
    t->model.size = p->plain + 4;
    t->plan = p->end + 4;
    memset(blob + t->plan, 0, p->size - t->plan);
    if (!b->data)
        memset(blob + p->plain, 0, p->end + 4 - p->plain);
    plan = vg_plan_of(t);
    *plan = *p;
    (void)vg_plan_lay(&t->model, &t->learn, p->plain, plan, vg_gates_of(t),
                      vg_nets_of(t));
    (void)vg_run_init(&t->run, &t->model, vg_at(t, p->run), p->run_size);
}

static void start(vg_train *t, const vg_model *m)
{
    vg_widen_masters(t, m);
    for (uint32_t k = 0; k < vg_plan_of(t)->n_gates; k++) {
        vg_gate *g = vg_gates_of(t) + k;
        for (uint32_t part = 0; part < VG_FACTORS; part++)
            vg_ints(t, g->factors)[part] = VG_FACTOR_ONE;
        for (uint32_t bit = 0; bit < 3 && vg_exp_of(t, g) > g->arg_exp + 1 &&
                               vg_exceeds(t, g, HEADROOM_HI, HEADROOM_BIAS);
             bit++)
            vg_fall(t, g);
    }
}

static void resume(vg_train *t)
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

int vg_train_init(vg_train *t, const vg_model *m, const vg_learn *learn,
                  void *arena, uint32_t size)
{
    beginning b;
    vg_model from;
    int err;

    if (!t || !m || !arena)
        return VG_E_ARG;
    if ((uintptr_t)arena % 4)
        return VG_E_ALIGN;
    if ((err = prepare(m, learn, &b)) != 0)
        return err;
    if (size < b.plan.size)
        return VG_E_SIZE;
    if (b.data && !state_ok(m, &b))
        return VG_E_FORMAT;
    from = *m; /* it may be t's own */
    memset(t, 0, sizeof *t);
    t->arena = arena;
    t->learn = b.learn;
    lay_out(t, &from, &b);
    if (b.data)
        resume(t);
    else
        start(t, &from);
    return VG_OK;
}

/* ---- seal ------------------------------------------------------------- */

static void put32(uint8_t *p, uint32_t x)
{
    memcpy(p, &x, 4);
}

static const void *seal(vg_train *t, uint32_t end, uint32_t *size)
{
    uint8_t *blob = vg_at(t, 0);

    put32(blob + 8, end + 4);
    put32(blob + end, vg_crc32(blob, end));
    *size = end + 4;
    return blob;
}

const void *vg_train_blob(vg_train *t, uint32_t *size)
{
    return seal(t, vg_plan_of(t)->plain, size);
}

const void *vg_train_checkpoint(vg_train *t, uint32_t *size)
{
    const vg_plan *p = vg_plan_of(t);
    uint8_t *blob = vg_at(t, 0);
    vg_head head;

    memset(&head, 0, sizeof head);
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

/* ---- while it goes on -------------------------------------------------- */

int vg_train_tune(vg_train *t, const vg_learn *learn)
{
    vg_learn same;

    if (!t || !learn || !learn_ok(&t->model, learn))
        return VG_E_ARG;
    same = t->learn;
    same.frozen = learn->frozen;
    same.rate_q24 = learn->rate_q24;
    same.decay_q14 = learn->decay_q14;
    same.clip_q16 = learn->clip_q16;
    same.epsilon_q24 = learn->epsilon_q24;
    same.seed = learn->seed;
    if (memcmp(&same, learn, sizeof same) != 0)
        return VG_E_ARG;
    t->learn = same;
    return VG_OK;
}

int vg_train_rate(vg_train *t, uint32_t layer, uint32_t gate, uint32_t part,
                  int32_t factor_q16)
{
    const vg_gate *g;

    if (!t || factor_q16 < 0 || part > VG_BIAS || layer > t->model.n_layers)
        return VG_E_ARG;
    if (layer == t->model.n_layers) {
        g = gate ? NULL : vg_readout_gate(t);
    } else {
        g = gate < vg_run_layers(&t->run)[layer].n_gates
                ? vg_gates_of(t) + vg_nets_of(t)[layer].first + gate
                : NULL;
    }
    if (!g)
        return VG_E_ARG;
    if (part == VG_BIAS ? !g->biases
                        : g->span[0].part != part &&
                              (g->n_spans < 2 || g->span[1].part != part))
        return VG_E_ARG;
    vg_ints(t, g->factors)[part] = factor_q16;
    return VG_OK;
}
