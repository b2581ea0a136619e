/* begin.c - a training begins: from weights, or where a checkpoint stopped.
 */
#include <string.h>

#include "train.h"

enum { HEADROOM_HI = 4096, HEADROOM_BIAS = (1 << 28) + 1 };

/* ---- what is admitted ------------------------------------------------ */

static int rule_ok(const vg_learn *l)
{
    if (l->rule > VG_RMSPROP || !VG_HAS_RULE(l->rule) ||
        l->flags > (VG_NESTEROV | (VG_HAS_SYMBOLS ? VG_SYMBOLS : 0)) ||
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

/* Where an error may be cut at the arguments: cells with c or h in full width
 * that no gate reads back within the step. */
static int has_traces(const vg_layer *l)
{
    return l->n_c && l->cell != VG_GRU_RESET_BEFORE && l->cell != VG_PLUS_RNN;
}

static int method_ok(const vg_model *m, const vg_learn *l)
{
    vg_walk w = vg_walk_start(m);
    vg_layer first;

    if (m->whole)
        return 0;
    if (l->method > VG_RTRL97 || !VG_HAS_METHOD(l->method))
        return 0;
    if (l->method == VG_TBPTT)
        return l->k2 && l->k1 <= l->k2;
    (void)vg_walk_layer(&w, &first);
    return !l->k2 && l->k1 <= 1 && m->n_layers == 1 && has_traces(&first);
}

static int learn_ok(const vg_model *m, const vg_learn *l)
{
    const uint32_t layers = m->n_layers < VG_FROZEN_READOUT
                                ? ((uint32_t)1 << m->n_layers) - 1
                                : 0x7FFFFFFF;
    const uint32_t readout =
        vg_has_readout(m) ? (uint32_t)1 << VG_FROZEN_READOUT : 0;

    return VG_HAS_WEIGHTS(16) && rule_ok(l) && loss_ok(m, l) &&
           method_ok(m, l) && !(l->frozen & ~(layers | readout));
}

/* ---- begin ------------------------------------------------------------ */

/* Settings and plan for training m: by learn, or by what m brings. */
typedef struct {
    vg_learn learn;
    vg_plan plan;
    uint32_t sections;
    const uint8_t *state; /* to go on from; null: a new training */
} beginning;

static const uint8_t *state_of(const beginning *b)
{
    return VG_CHECKPOINTS ? b->state : NULL;
}

/* Is it a state of this version, of a blob that it may be in? */
static int is_state(const vg_model *m, const uint8_t *state, uint32_t length)
{
    return state && length >= sizeof(vg_head) && m->blob[VG_AT_BITS] == 16 &&
           get32(state) == VG_STATE_VERSION;
}

static int prepare(const vg_model *m, const vg_learn *learn, beginning *b)
{
    uint32_t length = 0;
    uint64_t plain;
    int err;

    if (m->blob[VG_AT_LAYOUT] != VG_ROWS)
        return VG_E_LAYOUT;
    plain = vg_widen_more(m, &b->sections);
    b->state = vg_state_find(m, &b->sections, &length);
    plain += b->sections;
    if (learn) {
        b->state = NULL;
        b->learn = *learn;
    } else if (!VG_CHECKPOINTS || !is_state(m, b->state, length)) {
        return VG_E_FORMAT;
    } else {
        memcpy(&b->learn, b->state + offsetof(vg_head, learn), sizeof b->learn);
    }
    if (!learn_ok(m, &b->learn))
        return learn ? VG_E_ARG : VG_E_FORMAT;
    if (plain > INT32_MAX)
        return VG_E_SIZE;
    err = vg_plan_lay(m, &b->learn, (uint32_t)plain, &b->plan, NULL, NULL);
    if (err)
        return err;
    return state_of(b) && length != b->plan.end - b->plan.data ? VG_E_FORMAT
                                                               : VG_OK;
}

VG_ONCE int32_t vg_train_size(const vg_model *m, const vg_learn *learn)
{
    beginning b;
    int err;

    if (!m)
        return VG_E_ARG;
    err = prepare(m, learn, &b);
    return err ? err : (int32_t)b.plan.size;
}

/* Fill the arena of an aligned, large enough training.  The blob in it may be
 * the one that m views. */
static void lay_out(vg_train *t, const vg_model *m, const beginning *b)
{
    const vg_plan *p = &b->plan;
    uint8_t *blob = vg_at(t, 0);
    vg_plan *plan;

    if (state_of(b))
        vg_move_bytes(blob, m->blob, p->end);
    else
        vg_widen(m, b->sections, blob);
    t->model = *m;
    t->model.blob = blob;
    t->model.size = p->plain + 4;
    t->plan = p->end + 4;
    memset(blob + t->plan, 0, p->size - t->plan);
    if (!state_of(b))
        memset(blob + p->plain, 0, p->end + 4 - p->plain);
    plan = vg_plan_of(t);
    *plan = *p;
    (void)vg_plan_lay(&t->model, &t->learn, p->plain, plan, vg_gates_of(t),
                      vg_nets_of(t));
    (void)vg_run_init(&t->run, &t->model, vg_at(t, p->run), p->gates - p->run);
    t->run.keeps_values = !vg_is_tbptt(t);
}

static void start(vg_train *t, const vg_model *m)
{
    vg_gate *g = vg_gates_of(t), *end = g + vg_plan_of(t)->n_gates;
    uint32_t n;

    vg_widen_masters(t, m);
    for (; g < end; g++)
        for (uint32_t part = 0; part < VG_FACTORS; part++)
            vg_ints(t, g->factors)[part] = VG_FACTOR_ONE;
    for (g = vg_gates_of(t); g < end; g += n) {
        n = vg_joined(g, end);
        (void)vg_fall(t, g, n, HEADROOM_HI, HEADROOM_BIAS, 3);
    }
}

/* Apart from the arena, or at its start with 16 bits: then what the arena gets
 * does not overwrite what is still to be read. */
static int lies_well(const vg_model *m, const void *arena, uint32_t size)
{
    const uintptr_t blob = (uintptr_t)m->blob, at = (uintptr_t)arena;

    if (blob == at)
        return m->blob[VG_AT_BITS] == 16;
    return blob > at ? blob - at >= size : at - blob >= m->size;
}

VG_ONCE int vg_train_init(vg_train *t, const vg_model *m, const vg_learn *learn,
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
    if (!lies_well(m, arena, b.plan.size))
        return VG_E_ARG;
    if (state_of(&b) && !vg_state_ok(m, &b.learn, &b.plan, b.state))
        return VG_E_FORMAT;
    from = *m; /* it may be t's own */
    memset(t, 0, sizeof *t);
    t->arena = arena;
    t->learn = b.learn;
    lay_out(t, &from, &b);
    if (state_of(&b))
        vg_state_resume(t);
    else
        start(t, &from);
    vg_rates(t);
    return VG_OK;
}

/* ---- while it goes on -------------------------------------------------- */

VG_ONCE int vg_train_tune(vg_train *t, const vg_learn *learn)
{
    vg_learn same;

    if (!vg_begun(t) || !learn || !learn_ok(&t->model, learn))
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
    vg_rates(t);
    return VG_OK;
}

VG_ONCE int vg_train_rate(vg_train *t, uint32_t layer, uint32_t gate,
                          uint32_t part, int32_t factor_q16)
{
    const vg_gate *g;
    uint32_t k = 0;

    if (!vg_begun(t) || factor_q16 < 0 || part > VG_BIAS ||
        layer > t->model.n_layers)
        return VG_E_ARG;
    if (layer == t->model.n_layers) {
        g = gate ? NULL : vg_readout_gate(t);
    } else {
        g = gate < vg_run_layers(&t->run)[layer].n_gates
                ? vg_gates_of(t) + vg_nets_of(t)[layer].first + gate
                : NULL;
    }
    while (g && k < g->n_spans && g->span[k].part != part)
        k++;
    if (!g || k == g->n_spans)
        return VG_E_ARG;
    vg_ints(t, g->factors)[part] = factor_q16;
    vg_rates(t);
    return VG_OK;
}
