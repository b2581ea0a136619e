/* plan.h - what a training keeps, and where.
 *
 * The arena of a vg_train:
 *
 *     blob | tag, length | state | CRC | vg_plan | work | run | gates, nets
 *     '--------- a checkpoint ---------'
 *
 * so that a checkpoint is sealed in place: state is the training's.  Sealed as
 * a plain blob, the CRC stands where the tag is.  All places are byte offsets
 * into the arena.
 */
#ifndef VG_PLAN_H
#define VG_PLAN_H

#include "core.h"

/* VG_SPANS: of x, of h, of gates fed back or the own column, of the biases. */
enum { VG_SPANS = 4, VG_FACTORS = 3, VG_FACTOR_ONE = 65536 };

/* What a span's columns read.  A span on a symbol has columns that are 1 or 0;
 * one on an own source has one column, whose source differs from row to row. */
typedef enum {
    VG_READS_X,
    VG_READS_SYMBOL, /* that the model's x is */
    VG_READS_H,      /* of the step before */
    VG_READS_GATES,  /* likewise, those fed back */
    VG_READS_S,      /* r h */
    VG_READS_ONE,    /* always 1 */
    VG_READS_OWN_H,  /* of the step before */
    VG_READS_OWN_C0, /* likewise */
    VG_READS_OWN_C1  /* of this step */
} vg_reads;

/* Some columns of a gate, from the end of the span before to this end, that
 * differ from others in their sources or in their rate.  The biases, if there
 * are any, are the last column, with a span of its own. */
typedef struct {
    uint32_t end;
    uint8_t exp;    /* of the sources */
    uint8_t part;   /* vg_part */
    uint8_t reads;  /* vg_reads */
    uint8_t learns; /* is its rate more than 0? */
} vg_span;

/* A gate's weights, or the readout's, and what learning keeps beside them. */
typedef struct {
    uint32_t weights; /* int16[rows * stride] */
    uint32_t biases;  /* int32[rows]; 0: none */
    uint32_t exp;     /* uint8: E */
    uint32_t factors; /* int32[VG_FACTORS], by vg_part */
    uint32_t lo;      /* int16[rows * stride] */
    /* int32[rows * columns], and behind them the biases' column: int32[rows] */
    uint32_t g; /* gradients */
    uint32_t v; /* moments; 0: none */
    /* int32 */
    uint32_t traces;      /* [n * columns], then [n]: of RTRL97; 0: none */
    uint32_t derivatives; /* [n]: of c or of h by the argument */
    uint32_t self;        /* [rows]: of the gate by the argument, if fed back */
    uint32_t errors;      /* [rows]: of the arguments; 0: not wanted */
    uint32_t gates_tape;  /* int16[rows][k2]; 0: none, h says it all; and */
    uint32_t errors_tape; /* int32[rows][k2], of TBPTT */
    uint32_t index;       /* the first weight's, for rounding */
    vg_span span[VG_SPANS];
    uint32_t columns : 20; /* of the weights, < 2^18 */
    uint32_t arg_exp : 5;
    uint32_t layer : 7; /* bit of vg_learn.frozen; 32: it has none */
    uint16_t rows;
    uint8_t n_spans;
    uint8_t letter; /* 0 for the readout */
} vg_gate;

/* What changes from step to step. */
typedef struct {
    uint32_t pending; /* steps since the last update */
    uint32_t hot;     /* has one of them a target? */
    uint32_t tape_at, tape_len;
    uint32_t n_seen, n_fresh;
} vg_running;

/* The front of the training's state in a checkpoint.  The version changes with
 * anything in the state. */
enum { VG_STATE_VERSION = 1 };

typedef struct {
    uint32_t version;
    vg_learn learn;
    uint32_t sequences, steps, updates, clipped, falls, saturated, norm_q16;
    int32_t loss_q16;
    uint32_t run_saturated;
    vg_running now;
} vg_head;

/* A layer in training. */
typedef struct {
    uint32_t first;   /* of its gates */
    uint32_t r0;      /* int16: r before a step, of RTRL97; of TBPTT h alone,
                         where a gate reads s; 0: none */
    uint32_t c0;      /* [n]: c before it */
    uint32_t h_by_c;  /* [n]: derivative of h by c */
    uint32_t dh, dc;  /* [n]: errors */
    uint32_t dy;      /* [n]: of y, where that is what the layer gives */
    uint32_t dx;      /* [n_in]: errors of x, of TBPTT; first layer: 0 */
    uint32_t dr;      /* [columns of r]: errors of r, likewise */
    uint32_t z_tape;  /* int16[columns - skipped][k2] */
    uint32_t c_tape;  /* [n]: c before a step, and */
    uint32_t h_tape;  /* int16[n]: h after it where z has no h; 0: none */
    uint32_t skipped; /* columns of symbols, which z_tape lacks */
    uint32_t values;  /* int16[rows], c1 [n], h int16[n]: a step off the tape */
    uint32_t c1;
    uint32_t h;
    uint32_t s_tape; /* int16[n][k2]: s, where a gate reads that; 0: none */
} vg_net;

/* What lies where, and what changes from step to step. */
typedef struct {
    uint32_t plain; /* bytes of the blob without its CRC */
    uint32_t
        data; /* the training's state: vg_head, then all below that lasts */
    uint32_t images; /* of the run's state */
    uint32_t end;    /* of the training's state: the checkpoint's CRC */
    uint32_t gates, n_gates;
    uint32_t nets;
    uint32_t run;
    uint32_t y;               /* int16[n_out] */
    uint32_t d_logits;        /* [n_out] */
    uint32_t dh_tape;         /* [n of the last layer][k2] */
    uint32_t symbol_tape;     /* uint16[k2] */
    uint32_t next;            /* uint16[k2]: 1 + the next step on that symbol */
    uint32_t seen, seen_mark; /* uint16[n_in]: symbols W learns from */
    uint32_t fresh, fresh_mark; /* ... and the shortcuts */
    uint32_t size;              /* of the arena */
    vg_running now;
} vg_plan;

/* What every call asks first: a vg_train of zeros is refused like none. */
static inline int vg_begun(const vg_train *t)
{
    return t && t->arena;
}

/* Is every x a symbol? */
static inline int vg_on_symbols(const vg_train *t)
{
    return VG_HAS_SYMBOLS && t->learn.flags & VG_SYMBOLS;
}

/* ---- places --------------------------------------------------------- */

static inline void *vg_at(const vg_train *t, uint32_t at)
{
    return (uint8_t *)(void *)t->arena + at;
}

static inline int32_t *vg_ints(const vg_train *t, uint32_t at)
{
    return vg_at(t, at);
}

static inline vg_sig *vg_sigs(const vg_train *t, uint32_t at)
{
    return vg_at(t, at);
}

static inline uint16_t *vg_indices(const vg_train *t, uint32_t at)
{
    return vg_at(t, at);
}

static inline vg_plan *vg_plan_of(const vg_train *t)
{
    return vg_at(t, t->plan);
}

static inline vg_gate *vg_gates_of(const vg_train *t)
{
    return vg_at(t, vg_plan_of(t)->gates);
}

static inline vg_net *vg_nets_of(const vg_train *t)
{
    return vg_at(t, vg_plan_of(t)->nets);
}

/* The readout's gate; null where there is none. */
static inline vg_gate *vg_readout_gate(const vg_train *t)
{
    vg_gate *last = vg_gates_of(t) + vg_plan_of(t)->n_gates - 1;

    return last->letter ? NULL : last;
}

static inline int vg_exp_of(const vg_train *t, const vg_gate *g)
{
    return *(const uint8_t *)vg_at(t, g->exp);
}

/* ---- columns: all of a span, or those that a symbol may have touched --- */

typedef struct {
    const uint16_t *list; /* null: all */
    uint32_t count;
} vg_columns;

/* The k-th of them, counted from the span's first. */
static inline uint32_t vg_column(const vg_columns *c, uint32_t k)
{
    return c->list ? c->list[k] : k;
}

static inline uint32_t vg_span_begin(const vg_gate *g, const vg_span *s)
{
    return s == g->span ? 0 : s[-1].end;
}

static inline vg_columns vg_all(const vg_gate *g, const vg_span *s)
{
    const vg_columns all = {NULL, s->end - vg_span_begin(g, s)};

    return all;
}

/* Columns of a row, that of the biases with them. */
static inline uint32_t vg_in_row(const vg_gate *g)
{
    return g->columns + (g->biases ? 1u : 0u);
}

/* From row to row of the weights. */
static inline uint32_t vg_gate_stride(const vg_gate *g)
{
    return (g->columns + 3) & ~(uint32_t)3;
}

/* Where a span's part of a row is in [rows * columns], then [rows]. */
static inline uint32_t vg_row_at(const vg_gate *g, const vg_span *s,
                                 uint32_t rows, uint32_t row)
{
    return s->part == VG_BIAS ? rows * g->columns + row
                              : row * g->columns + vg_span_begin(g, s);
}

static inline const vg_span *vg_span_of(const vg_gate *g, vg_reads reads)
{
    for (const vg_span *s = g->span; s < g->span + g->n_spans; s++)
        if (s->reads == reads)
            return s;
    return NULL;
}

static inline int vg_reads_symbol(const vg_span *s)
{
    return VG_HAS_SYMBOLS && s->reads == VG_READS_SYMBOL;
}

static inline int vg_reads_own(const vg_span *s)
{
    return VG_HAS_OWN && s->reads >= VG_READS_OWN_H;
}

/* Does every column of a span have its own source on the tape? */
static inline int vg_on_tape(const vg_span *s)
{
    return s->reads != VG_READS_ONE && s->reads != VG_READS_SYMBOL &&
           !vg_reads_own(s);
}

/* How many gates from this one on have one exponent: n and m of a gru. */
static inline uint32_t vg_joined(const vg_gate *g, const vg_gate *end)
{
    return VG_HAS_CELL(VG_GRU) && g + 1 < end && g[1].letter == 'm' ? 2 : 1;
}

/* What gates read at one step: x and r = [h; gates fed back] of a layer, or of
 * the readout the model's x and the last layer's h. */
typedef struct {
    const vg_sig *x;
    const vg_sig *r;
    const int32_t *c0, *c1; /* before and after */
    uint32_t symbol;
} vg_sources;

/* ---- all of it ------------------------------------------------------- */

/* Give everything its place.  gates and nets may be null: then only p is
 * filled.  plain: bytes of the 16-bit blob without its CRC.  VG_E_SIZE beyond
 * 2 GiB. */
int vg_plan_lay(const vg_model *m, const vg_learn *learn, uint32_t plain,
                vg_plan *p, vg_gate *gates, vg_net *nets);

#endif
