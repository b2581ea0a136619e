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

    if (s->reads == VG_READS_X)
        return z;
    if (VG_HAS_CELL(VG_GRU_RESET_BEFORE) && s->reads == VG_READS_S)
        return vg_sigs(t, net->s_tape);
    if (VG_HAS_FIELDS && s->reads == VG_READS_GATES)
        return r + l->n * k2;
    return r; /* h, all or own */
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

static void symbols_gradient(vg_train *t, const vg_row *r, const vg_span *s,
                             int32_t *g)
{
    const vg_columns columns = vg_listed(t, r->g, s);

    for (uint32_t k = 0; k < columns.count; k++)
        vg_keep(t, &g[columns.list[k]], chained(t, r->errors, columns.list[k]),
                0);
}

/* The spans that learn and are neither on the tape nor biases: one column, or
 * those of symbols. */
static void few_columns(vg_train *t, const vg_row *r, const vg_layer *l,
                        const vg_net *net)
{
    const vg_span *s = r->g->span, *end = s + r->g->n_spans;

    for (; s < end; s++) {
        int32_t *g =
            vg_ints(t, r->g->g) + vg_row_at(r->g, s, r->g->rows, r->row);
        if (!s->learns || vg_on_tape(s) || s->reads == VG_READS_ONE)
            continue;
        if (vg_reads_own(s))
            vg_keep(t, g, along_own(t, l, net, s, r->row, r->errors), 0);
        else
            symbols_gradient(t, r, s, g);
    }
}

/* Are there such? */
static int has_few(const vg_gate *g)
{
    for (const vg_span *s = g->span; s < g->span + g->n_spans; s++)
        if (s->learns && !vg_on_tape(s) && s->reads != VG_READS_ONE)
            return 1;
    return 0;
}

/* The gradients of biases; null if they do not learn. */
static int32_t *biases_of(const vg_train *t, const vg_gate *g)
{
    const vg_span *s = vg_span_of(g, VG_READS_ONE);

    return s && s->learns ? vg_ints(t, g->g) + vg_row_at(g, s, g->rows, 0)
                          : NULL;
}

/* Are these columns next to those? */
static int goes_on(const dot_row *those, const dot_row *these)
{
    return those->exp == these->exp &&
           those->z + those->columns * those->apart == these->z &&
           those->g + those->columns == these->g;
}

/* The pairs of a span whose first source is z: null if it is not the first of
 * two. */
static const dot_paired *pairs_of(const vg_train *t, const vg_net *net,
                                  const vg_span *s, const vg_sig *z,
                                  const dot_paired *pairs, uint32_t steps)
{
    const vg_sig *tape = vg_sigs(t, net->z_tape);
    uint32_t column;

    if (!pairs || s->reads == VG_READS_S)
        return NULL;
    column = (uint32_t)(z - tape) / t->learn.k2;
    return column & 1 ? NULL : pairs + column * steps;
}

/* The spans on the tape that learn, for a gate's first row; what lies side by
 * side is one.  Returns how many. */
static uint32_t tape_columns(const vg_train *t, const vg_layer *l,
                             const vg_net *net, const vg_gate *g,
                             const dot_paired *pairs, uint32_t steps,
                             dot_row *c)
{
    uint32_t n = 0;

    for (const vg_span *s = g->span; s < g->span + g->n_spans; s++) {
        const uint32_t columns = s->end - vg_span_begin(g, s);
        if (!s->learns || !vg_on_tape(s))
            continue;
        c->z = tape_of(t, l, net, s);
        c->apart = t->learn.k2;
        c->paired = pairs_of(t, net, s, c->z, pairs, steps);
        c->g = vg_ints(t, g->g) + vg_row_at(g, s, g->rows, 0);
        c->columns = columns;
        c->exp = s->exp;
        if (n && goes_on(c - 1, c))
            c[-1].columns += columns;
        else
            c++, n++;
    }
    return n;
}

static void gate_gradient(vg_train *t, const vg_gate *g, const vg_layer *l,
                          const vg_net *net, const dot_paired *pairs,
                          uint32_t steps)
{
    dot_row columns[VG_SPANS];
    const dot_row *const end =
        columns + tape_columns(t, l, net, g, pairs, steps, columns);
    const uint32_t k2 = t->learn.k2, apart = g->columns;
    const int few = has_few(g);
    int32_t *bias = biases_of(t, g);
    vg_row r;

    r.g = g;
    r.errors = vg_ints(t, g->errors_tape);
    r.limit = (const int32_t *)(const void *)pairs;
    for (r.row = 0; r.row < g->rows; r.row++, r.errors += k2) {
        r.n = vg_plan_of(t)->now.tape_len;
        vg_row_measure(&r, k2);
        if (bias)
            vg_keep(t, bias++, r.sum, 0);
        for (dot_row *c = columns; c < end; c++, c[-1].g += apart) {
            c->e = r.errors;
            c->n = r.n;
            vg_columns_gradient(t, &r, c);
        }
        if (few) /* whose gradient may lie on sources of the others */
            few_columns(t, &r, l, net);
    }
}

static void layer_gradient(vg_train *t, const vg_layer *l, const vg_net *net)
{
    const vg_gate *g = vg_gates_of(t) + net->first;
    uint32_t steps = 0;
    const dot_paired *pairs = vg_pair_sources(t, l, net, &steps);

    if (VG_HAS_CELL(VG_GRU_RESET_BEFORE) && net->s_tape)
        recall_s(t, l, net);
    for (const vg_gate *end = g + l->n_gates; g < end; g++)
        gate_gradient(t, g, l, net, pairs, steps);
}

void vg_tbptt_gradient(vg_train *t, uint32_t low)
{
    if (vg_on_symbols(t))
        chain_symbols(t, vg_plan_of(t));
    for (uint32_t k = low; k < t->model.n_layers; k++)
        layer_gradient(t, vg_run_layers(&t->run) + k, vg_nets_of(t) + k);
}
