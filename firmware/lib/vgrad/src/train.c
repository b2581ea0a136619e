/* train.c - a run that also changes the weights, step by step. */
#include <string.h>

#include "train.h"

/* ---- one step ------------------------------------------------------- */

/* The run's step, and what learning must keep of it.  Returns what the readout
 * reads. */
static const vg_sig *forward(vg_train *t, const vg_input *x)
{
    const vg_layer *l = vg_run_layers(&t->run);
    const int tape = vg_is_tbptt(t);
    const vg_sig *values = vg_run_values(&t->run);
    const vg_sig *in = x->x;

    for (uint32_t k = 0; k < t->model.n_layers; k++, l++) {
        vg_sig *z = vg_run_signals(&t->run, l->z);
        if (!VG_HAS_SYMBOLS || in)
            memcpy(z, in, 2 * (size_t)l->n_in);
        if (tape)
            vg_tbptt_before(t, k);
        else
            vg_rtrl97_before(t);
        vg_layer_step(&t->run, l, VG_HAS_SYMBOLS && !in ? x : NULL);
        if (tape)
            vg_tbptt_after(t, k, values);
        else
            vg_rtrl97_after(t, x, values);
        in = vg_run_out(&t->run, l);
    }
    return in;
}

/* The readout learns from the errors of the logits; the error of h. */
static const int32_t *through_readout(vg_train *t, const vg_sig *h,
                                      const vg_input *x)
{
    vg_plan *p = vg_plan_of(t);
    const vg_gate *g = vg_readout_gate(t);
    const vg_readout *r = vg_run_readout(&t->run);
    int32_t *d = vg_ints(t, p->d_logits);
    int32_t *dh = vg_ints(t, vg_nets_of(t)[t->model.n_layers - 1].dh);
    vg_sources z;

    if (!g)
        return d;
    memset(&z, 0, sizeof z);
    z.r = h;
    z.x = vg_run_signals(&t->run, vg_run_layers(&t->run)->z);
    z.symbol = x->symbol;
    if (VG_HAS_SYMBOLS && !x->x && g->columns > r->n_h)
        vg_note(t, p->fresh, p->fresh_mark, &p->now.n_fresh, x->symbol);
    vg_gather(t, g, d, &z);
    memset(dh, 0, 4 * (size_t)r->n_h);
    vg_transposed(t, g, 1, VG_READS_H, r->n_h, dh);
    return dh;
}

/* An update is due. */
static int due(vg_train *t)
{
    vg_plan *p = vg_plan_of(t);
    const int hot = (int)p->now.hot;

    p->now.pending = p->now.hot = 0;
    if (!hot)
        return 0;
    if (vg_is_tbptt(t))
        vg_tbptt_flow(t);
    vg_update(t);
    return 1;
}

static int train_step(vg_train *t, const vg_input *x, const vg_sig *target,
                      vg_sig *y)
{
    vg_plan *p = vg_plan_of(t);
    const int32_t *dh = NULL;
    const vg_sig *h;

    if (!y)
        y = vg_sigs(t, p->y);
    h = forward(t, x);
    t->steps++;
    p->now.pending++;
    if (target || y != vg_sigs(t, p->y))
        vg_readout_step(&t->run, h, x, y);
    if (target) {
        vg_loss_step(t, y, target);
        dh = through_readout(t, h, x);
        p->now.hot = 1;
    }
    if (vg_is_tbptt(t))
        vg_tbptt_step(t, x, dh);
    else if (dh)
        vg_rtrl97_step(t, x, dh);
    return t->learn.k1 && p->now.pending == t->learn.k1 ? due(t) : 0;
}

/* ---- the calls ------------------------------------------------------ */

int vg_train_step(vg_train *t, const vg_sig *x, const vg_sig *target, vg_sig *y)
{
    const vg_input in = {x, 0, 0};

    if (!vg_begun(t) || !x || vg_on_symbols(t) ||
        (target && vg_target_check(t, target)))
        return VG_E_ARG;
    return train_step(t, &in, target, y);
}

int vg_train_symbol(vg_train *t, uint32_t symbol, const vg_sig *target,
                    vg_sig *y)
{
    vg_input in = {NULL, symbol, 0};

    if (!vg_begun(t) || !vg_on_symbols(t) || symbol >= t->model.n_in ||
        (target && vg_target_check(t, target)))
        return VG_E_ARG;
    in.one = (int32_t)1 << t->model.x_exp;
    return train_step(t, &in, target, y);
}

/* The target of step k of many; null where it has none. */
static const vg_sig *target_at(const vg_train *t, const vg_sig *target,
                               const uint8_t *known, uint32_t k)
{
    const size_t width = t->model.output == VG_SOFTMAX ? 1 : t->model.n_out;

    return !target || (known && !known[k]) ? NULL : target + k * width;
}

static int targets_ok(const vg_train *t, const vg_sig *target,
                      const uint8_t *known, uint32_t steps)
{
    for (uint32_t k = 0; k < steps; k++) {
        const vg_sig *at = target_at(t, target, known, k);
        if (at && vg_target_check(t, at))
            return 0;
    }
    return 1;
}

int32_t vg_train_steps(vg_train *t, const vg_sig *x, const vg_sig *target,
                       const uint8_t *known, uint32_t steps)
{
    int32_t changed = 0;

    if (!vg_begun(t) || !x || vg_on_symbols(t) || steps > INT32_MAX ||
        !targets_ok(t, target, known, steps))
        return VG_E_ARG;
    for (uint32_t k = 0; k < steps; k++, x += t->model.n_in)
        changed += vg_train_step(t, x, target_at(t, target, known, k), NULL);
    return changed;
}

int32_t vg_train_symbols(vg_train *t, const uint16_t *symbol,
                         const vg_sig *target, const uint8_t *known,
                         uint32_t steps)
{
    int32_t changed = 0;

    if (!vg_begun(t) || !symbol || !vg_on_symbols(t) || steps > INT32_MAX ||
        !targets_ok(t, target, known, steps))
        return VG_E_ARG;
    for (uint32_t k = 0; k < steps; k++)
        if (symbol[k] >= t->model.n_in)
            return VG_E_ARG;
    for (uint32_t k = 0; k < steps; k++)
        changed +=
            vg_train_symbol(t, symbol[k], target_at(t, target, known, k), NULL);
    return changed;
}

int vg_train_end(vg_train *t)
{
    vg_plan *p;
    int changed;

    if (!vg_begun(t))
        return VG_E_ARG;
    p = vg_plan_of(t);
    changed = p->now.pending ? due(t) : 0;
    if (!vg_is_tbptt(t))
        vg_rtrl97_reset(t);
    p->now.tape_at = p->now.tape_len = 0;
    vg_run_reset(&t->run);
    t->sequences++;
    return changed;
}
