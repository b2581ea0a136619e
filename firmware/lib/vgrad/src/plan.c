/* plan.c - everything in a training's arena gets its place. */
#include <string.h>

#include "train.h"

/* Where the next thing goes; 64 bits, so that it cannot overflow. */
typedef struct {
    uint64_t at;
} cursor;

/* rows x columns of size bytes. */
static VG_APART uint32_t take(cursor *c, uint32_t rows, uint32_t columns,
                              uint32_t size)
{
    const uint64_t at = c->at;

    c->at += ((uint64_t)rows * columns * size + 3) & ~(uint64_t)3;
    return (uint32_t)at;
}

/* Of a plan in the making: what lasts from step to step and goes into a
 * checkpoint, and what is only for a moment. */
typedef struct {
    const vg_model *m;
    const vg_learn *learn;
    cursor lasts, work;
    uint32_t index; /* of the next weight, for rounding */
    uint32_t symbols;
} laying;

/* int32[n], for a moment. */
static VG_APART uint32_t take_ints(laying *y, uint32_t n)
{
    return take(&y->work, 1, n, 4);
}

/* [n][k2] of size bytes, which last. */
static VG_APART uint32_t take_tape(laying *y, uint32_t n, uint32_t size)
{
    return take(&y->lasts, n, y->learn->k2, size);
}

static void add_span(vg_gate *g, uint32_t n, uint32_t exp, uint32_t part,
                     vg_reads reads)
{
    vg_span *s = &g->span[g->n_spans++];

    s->end = g->columns + n;
    g->columns = s->end & 0xFFFFF;
    s->exp = (uint8_t)exp;
    s->part = (uint8_t)part;
    s->reads = (uint8_t)reads;
}

/* What every gate has: rows and columns are known, places are not. */
static void begin_gate(vg_gate *g, const vg_map *map, const uint32_t *index)
{
    memset(g, 0, sizeof *g);
    g->weights = map->weights;
    g->biases = map->biases;
    g->exp = map->exps;
    g->rows = map->rows;
    g->arg_exp = map->arg_exp & 31u;
    g->index = *index;
}

static void end_gate(vg_gate *g, uint32_t *index)
{
    if (g->biases) {
        add_span(g, 1, 0, VG_BIAS, VG_READS_ONE);
        g->columns--;
    }
    *index += g->rows * vg_in_row(g);
}

/* ---- what each needs ------------------------------------------------ */

/* Beside the weights: factors, low halves, gradients, moments. */
static void lay_masters(laying *y, vg_gate *g)
{
    /* between updates only the readout's gradient is more than zeros */
    cursor *gradient =
        vg_by_tbptt(y->learn) && g->letter ? &y->work : &y->lasts;
    g->factors = take(&y->lasts, 1, VG_FACTORS, 4);
    g->lo = take(&y->lasts, g->rows, vg_gate_stride(g), 2);
    g->g = take(gradient, g->rows, vg_in_row(g), 4);
    if (VG_HAS_MOMENTS && y->learn->rule != VG_SGD)
        g->v = take(&y->lasts, g->rows, vg_in_row(g), 4);
}

static void lay_gate(laying *y, vg_gate *g, const vg_layer *l)
{
    const uint32_t k2 = y->learn->k2;
    const int tape = vg_by_tbptt(y->learn);

    lay_masters(y, g);
    if (!tape || !vg_in_one_pass(l))
        g->derivatives = take_ints(y, l->n);
    if (tape || vg_acts_on_h(g))
        g->errors = take_ints(y, g->rows);
    else
        g->traces = take(&y->lasts, l->n, vg_in_row(g), 4);
    if (!tape)
        return;
    if (l->n_c)
        g->gates_tape = take_tape(y, g->rows, 2);
    g->errors_tape = take(&y->work, g->rows, k2, 4);
    if ((vg_fields(l) & VG_FEEDBACK) && (g->letter == 'i' || g->letter == 'o'))
        g->self = take_ints(y, g->rows);
}

/* A step that comes off the tape, and what only cells in several passes ask
 * for. */
static void lay_step(laying *y, vg_net *net, const vg_layer *l)
{
    net->c0 = take_ints(y, l->n_c);
    net->h_by_c = take_ints(y, l->n_c);
    net->values = take(&y->work, 1, l->rows, 2);
    net->c1 = take_ints(y, l->n_c);
    net->h = take(&y->work, 1, l->n, 2);
}

static void lay_net(laying *y, vg_net *net, const vg_layer *l, uint32_t layer)
{
    const uint32_t k2 = y->learn->k2, n_r = l->n_z - l->n_in;

    net->dh = take_ints(y, l->n);
    net->dc = take_ints(y, l->n);
    if (!vg_by_tbptt(y->learn)) {
        /* of lstm97 only f asks for it */
        if (l->cell != VG_LSTM97 || (vg_fields(l) & VG_FORGET_GATE))
            net->c0 = take_ints(y, l->n_c);
        net->h_by_c = take_ints(y, l->n_c);
        net->r0 = take(&y->work, 1, n_r, 2);
        return;
    }
    if (!vg_in_one_pass(l))
        lay_step(y, net, l);
    net->dx = take_ints(y, layer ? l->n_in : 0);
    net->dr = take_ints(y, n_r);
    net->skipped = y->symbols && !layer ? l->n_in : 0;
    net->z_tape = take_tape(y, l->n_z - net->skipped, 2);
    net->c_tape = take_tape(y, l->n_c, 4);
    if (vg_is_cell(l, VG_GRU_RESET_BEFORE)) {
        net->r0 = take(&y->work, 1, l->n, 2);
        net->s_tape = take(&y->work, l->n, k2, 2);
    }
    if (vg_gives_y(l))
        net->dy = take_ints(y, l->n);
    if (VG_HAS_FIELDS && !n_r)
        net->h_tape = take_tape(y, l->n, 2);
}

/* ---- gates as the model has them ------------------------------------ */

static vg_reads x_reads(uint32_t symbols)
{
    return symbols ? VG_READS_SYMBOL : VG_READS_X;
}

/* The letter of a gate, counted among those that the layer has. */
static char letter_of(const vg_layer *l, uint32_t gate)
{
    const char *letters = vg_cells[l->cell]->gates;

    if (!VG_HAS_FIELDS)
        return letters[gate];
    for (; *letters; letters++) {
        if (l->n_c && ((*letters == 'f' && !(vg_fields(l) & VG_FORGET_GATE)) ||
                       (*letters == 'o' && !(vg_fields(l) & VG_OUTPUT_GATE))))
            continue;
        if (!gate--)
            break;
    }
    return *letters;
}

static void layer_gate(vg_gate *g, const vg_layer *l, uint32_t layer,
                       uint32_t k, uint32_t x_exp, uint32_t symbols,
                       uint32_t *index)
{
    const uint8_t reads = VG_HAS_READS ? l->gate[k].reads : 'b';
    /* where h is c as well, it is no signal that the layer gives on h_exp */
    const uint32_t h_exp =
        VG_HAS_H && vg_cells[l->cell]->carry == 'h' ? VG_MAX_EXP : l->h_exp;

    begin_gate(g, &l->gate[k], index);
    g->layer = (layer < VG_FROZEN_READOUT ? layer : 32) & 127;
    g->letter = (uint8_t)letter_of(l, k);
    if (reads != 'h')
        add_span(g, l->n_in, x_exp, VG_FROM_X, x_reads(symbols));
    if (reads == 's')
        add_span(g, l->n, VG_MAX_EXP, VG_FROM_H, VG_READS_S);
    else if (reads != 'x' && reads != 'd' && vg_is_recurrent(l))
        add_span(g, l->n, h_exp, VG_FROM_H, VG_READS_H);
    if (VG_HAS_FIELDS && reads == 'b' && l->n_z > (uint32_t)l->n_in + l->n)
        add_span(g, l->n_z - l->n_in - l->n, VG_MAX_EXP, VG_FROM_H,
                 VG_READS_GATES);
    if (reads == 'd')
        add_span(g, 1, h_exp, VG_FROM_H, VG_READS_OWN_H);
    if (reads == 'p' || reads == 'q')
        add_span(g, 1, VG_MAX_EXP, VG_FROM_H,
                 reads == 'p' ? VG_READS_OWN_C0 : VG_READS_OWN_C1);
    end_gate(g, index);
}

static void readout_gate(vg_gate *g, const vg_model *m, const vg_readout *r,
                         uint32_t h_exp, uint32_t symbols, uint32_t *index)
{
    begin_gate(g, &r->map, index);
    g->layer = VG_FROZEN_READOUT;
    add_span(g, r->n_h, h_exp, VG_FROM_H, VG_READS_H);
    if (r->map.columns > r->n_h)
        add_span(g, m->n_in, m->x_exp, VG_FROM_X, x_reads(symbols));
    end_gate(g, index);
}

/* ---- all of it ------------------------------------------------------- */

/* Returns the shortcuts from symbols. */
static uint32_t lay_layers(laying *y, vg_plan *p, vg_gate *gates, vg_net *nets)
{
    vg_walk w = vg_walk_start(y->m);
    uint32_t x_exp = y->m->x_exp, n = 0, shortcuts = 0, last = 0;
    vg_layer l;
    vg_readout r;
    vg_gate scratch, *g = gates;
    vg_net none, *net = nets;

    if (!gates)
        g = &scratch;
    if (!nets)
        net = &none;
    for (uint32_t layer = 0; layer < y->m->n_layers; layer++) {
        const uint32_t symbols = y->symbols && !layer;
        (void)vg_walk_layer(&w, &l);
        memset(net, 0, sizeof *net);
        net->first = n;
        lay_net(y, net, &l, layer);
        net += nets != NULL;
        for (uint32_t k = 0; k < l.n_gates; k++, n++, g += gates != NULL) {
            layer_gate(g, &l, layer, k, x_exp, symbols, &y->index);
            lay_gate(y, g, &l);
        }
        x_exp = l.h_exp;
        last = l.n;
    }
    p->dh_tape = take_tape(y, last, 4);
    p->d_logits = take_ints(y, y->m->n_out);
    p->y = take(&y->work, 1, y->m->n_out, 2);
    if (vg_has_readout(y->m)) {
        (void)vg_walk_readout(&w, y->m, &r);
        readout_gate(g, y->m, &r, x_exp, y->symbols, &y->index);
        lay_masters(y, g);
        g->errors = p->d_logits;
        shortcuts = y->symbols ? g->columns - r.n_h : 0;
        n++;
    }
    p->n_gates = n;
    return shortcuts;
}

static void lay_lists(laying *y, vg_plan *p, uint32_t shortcuts)
{
    const uint32_t n = y->symbols ? y->m->n_in : 0;
    const uint32_t k2 = y->symbols ? y->learn->k2 : 0;
    /* TBPTT makes its list when an update falls due */
    cursor *seen = vg_by_tbptt(y->learn) ? &y->work : &y->lasts;

    if (!VG_HAS_SYMBOLS)
        return;
    p->seen = take(seen, 1, n, 2);
    p->seen_mark = take(seen, 1, n, 2);
    p->fresh = take(&y->lasts, 1, shortcuts, 2);
    p->fresh_mark = take(&y->lasts, 1, shortcuts, 2);
    p->symbol_tape = take(&y->lasts, 1, k2, 2);
    p->next = take(&y->work, 1, k2, 2);
}

/* One laying, with what is for a moment from `work` on.  Returns the end of
 * what lasts. */
static uint64_t lay_all(const vg_model *m, const vg_learn *learn,
                        uint32_t plain, uint64_t work, vg_plan *p,
                        vg_gate *gates, vg_net *nets)
{
    laying y;

    memset(p, 0, sizeof *p);
    y.m = m;
    y.learn = learn;
    y.index = 0;
    y.symbols = VG_HAS_SYMBOLS ? learn->flags & VG_SYMBOLS : 0;
    y.work.at = work;
    p->plain = plain;
    p->data = plain + 8; /* tag, length */
    y.lasts.at = (uint64_t)p->data + sizeof(vg_head);
    p->images = take(&y.lasts, 1, m->state_size - VG_STATE_HEADER, 1);
    lay_lists(&y, p, lay_layers(&y, p, gates, nets));
    p->end = (uint32_t)y.lasts.at;
    p->run = take(&y.work, 1, (uint32_t)vg_run_size(m), 1);
    p->gates = take(&y.work, 1, p->n_gates, sizeof(vg_gate));
    p->nets = take(&y.work, 1, m->n_layers, sizeof(vg_net));
    p->size = (uint32_t)y.work.at;
    return y.work.at > INT32_MAX ? UINT64_MAX : y.lasts.at;
}

VG_ONCE int vg_plan_lay(const vg_model *m, const vg_learn *learn,
                        uint32_t plain, vg_plan *p, vg_gate *gates,
                        vg_net *nets)
{
    const uint64_t end = lay_all(m, learn, plain, 0, p, NULL, NULL);

    if (end > INT32_MAX - 4 - sizeof(vg_plan))
        return VG_E_SIZE;
    if (lay_all(m, learn, plain, end + 4 + sizeof(vg_plan), p, gates, nets) ==
        UINT64_MAX)
        return VG_E_SIZE;
    return VG_OK;
}
