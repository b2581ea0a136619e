/* tbptt_gradient.c - from the errors of all steps on the tape to a gradient:
 * exact sums along it.
 */
#include "tape.h"

/* Chain the steps on the tape by their symbols: seen_mark[s] is 1 + the last of
 * them, next[] leads on. */
static void chain_symbols(vg_train *t, vg_plan *p)
{
    uint16_t *head = vg_indices(t, p->seen_mark);

    p->now.n_seen = 0;
    for (uint32_t k = 0; k < p->now.tape_len; k++) {
        const uint16_t s = vg_indices(t, p->symbol_tape)[k];
        if (!head[s])
            vg_indices(t, p->seen)[p->now.n_seen++] = s;
        vg_indices(t, p->next)[k] = head[s];
        head[s] = (uint16_t)(k + 1);
    }
}

static int64_t sum_of(const int32_t *errors, uint32_t n)
{
    int64_t sum = 0;

    for (uint32_t k = 0; k < n; k++)
        sum += errors[k];
    return sum;
}

/* The sum of errors of the steps on a symbol. */
static int64_t chained(const vg_train *t, const int32_t *errors,
                       uint32_t symbol)
{
    const vg_plan *p = vg_plan_of(t);
    uint32_t at = vg_indices(t, p->seen_mark)[symbol];
    int64_t sum = 0;

    for (; at; at = vg_indices(t, p->next)[at - 1])
        sum += errors[at - 1];
    return sum;
}

/* s = r h of all steps on the tape. */
static void recall_s(const vg_train *t, const vg_layer *l, const vg_net *net)
{
    const uint32_t k2 = t->learn.k2;
    const vg_sig *r = vg_sigs(t, vg_gate_of(t, net, 'r')->gates_tape);
    const vg_sig *h = vg_sigs(t, net->z_tape) + (l->n_in - net->skipped) * k2;

    for (uint32_t k = 0; k < l->n * k2; k++)
        vg_sigs(t, net->s_tape)[k] = (vg_sig)fx_rs((int32_t)r[k] * h[k], 14);
}

/* A span's first source along the tape. */
static const vg_sig *tape_of(const vg_train *t, const vg_layer *l,
                             const vg_net *net, const vg_span *s)
{
    const uint32_t k2 = t->learn.k2;
    const vg_sig *z = vg_sigs(t, net->z_tape);
    const vg_sig *r = z + (l->n_in - net->skipped) * k2;

    switch (s->reads) {
    case VG_READS_X:
        return z;
    case VG_READS_S:
        return vg_sigs(t, net->s_tape);
    case VG_READS_GATES:
        return r + l->n * k2;
    default: /* h, all or own */
        return r;
    }
}

/* The sum of errors times a cell's own source, each product rounded. */
static int64_t along_own(const vg_train *t, const vg_layer *l,
                         const vg_net *net, const vg_span *s, uint32_t u,
                         const int32_t *errors)
{
    const vg_plan *p = vg_plan_of(t);
    const uint32_t k2 = t->learn.k2;
    const uint32_t newest = (p->now.tape_at ? p->now.tape_at : k2) - 1;
    const vg_sig *h = tape_of(t, l, net, s) + u * k2;
    const int32_t *c = vg_ints(t, net->c_tape) + u * k2;
    int64_t sum = 0;

    for (uint32_t k = 0; k < p->now.tape_len; k++) {
        int32_t z;
        if (s->reads == VG_READS_OWN_H)
            z = h[k];
        else if (s->reads == VG_READS_OWN_C0)
            z = (int32_t)fx_rs(c[k], 6);
        else if (k == newest)
            z = (int32_t)fx_rs(vg_run_c(&t->run, l)[u], 6);
        else
            z = (int32_t)fx_rs(c[k + 1 < k2 ? k + 1 : 0], 6);
        sum += fx_round((int64_t)errors[k] * z, s->exp);
    }
    return sum;
}

/* ---- a row ----------------------------------------------------------- */

static int32_t *gradient_at(const vg_train *t, const vg_row *r,
                            const vg_span *s)
{
    return vg_ints(t, r->g->g) + vg_row_at(r->g, s, r->g->rows, r->row);
}

/* Spans that a row reads error by error: one column, or those of symbols. */
static void few_columns(vg_train *t, const vg_row *r, const vg_layer *l,
                        const vg_net *net, const vg_span *s)
{
    const vg_columns columns = vg_listed(t, r->g, s);
    int32_t *into = gradient_at(t, r, s);

    if (s->reads == VG_READS_ONE)
        vg_keep(t, into, sum_of(r->errors, r->n), 0);
    else if (vg_reads_own(s))
        vg_keep(t, into, along_own(t, l, net, s, r->row, r->errors), 0);
    else
        for (uint32_t k = 0; k < columns.count; k++)
            vg_keep(t, &into[columns.list[k]],
                    chained(t, r->errors, columns.list[k]), 0);
}

static void span_gradient(vg_train *t, const vg_row *r, const vg_layer *l,
                          const vg_net *net, const vg_span *s)
{
    vg_row_columns c;

    c.z = tape_of(t, l, net, s);
    c.apart = t->learn.k2;
    c.g = gradient_at(t, r, s);
    c.n = s->end - vg_span_begin(r->g, s);
    c.exp = s->exp;
    vg_columns_gradient(t, r, &c);
}

/* Does every column of a span have its own source on the tape? */
static int on_tape(const vg_span *s)
{
    return s->reads != VG_READS_ONE && s->reads != VG_READS_SYMBOL &&
           !vg_reads_own(s);
}

static void row_gradient(vg_train *t, vg_row *r, const vg_layer *l,
                         const vg_net *net)
{
    const vg_span *first = r->g->span, *end = first + r->g->n_spans;
    int exp = VG_MAX_EXP; /* the least */

    for (const vg_span *s = first; s < end; s++)
        if (s->learns && !on_tape(s))
            few_columns(t, r, l, net, s);
        else if (s->learns && s->exp < exp)
            exp = s->exp;
    vg_row_measure(r, t->learn.k2, exp);
    for (const vg_span *s = first; s < end; s++)
        if (s->learns && on_tape(s))
            span_gradient(t, r, l, net, s);
}

static void layer_gradient(vg_train *t, const vg_layer *l, const vg_net *net)
{
    const vg_gate *g = vg_gates_of(t) + net->first;
    vg_row r;

    if (VG_HAS_CELL(VG_GRU_RESET_BEFORE) && net->s_tape)
        recall_s(t, l, net);
    for (const vg_gate *end = g + l->n_gates; g < end; g++)
        for (r.g = g, r.row = 0; r.row < g->rows; r.row++) {
            r.n = vg_plan_of(t)->now.tape_len;
            r.errors = vg_ints(t, g->errors_tape) + r.row * t->learn.k2;
            row_gradient(t, &r, l, net);
        }
}

void vg_tbptt_gradient(vg_train *t, uint32_t low)
{
    if (vg_on_symbols(t))
        chain_symbols(t, vg_plan_of(t));
    for (uint32_t k = low; k < t->model.n_layers; k++)
        layer_gradient(t, vg_run_layers(&t->run) + k, vg_nets_of(t) + k);
}
