/* train.h - what the files that train share.
 *
 * The arena of a vg_train:
 *
 *     blob | tag, length | the training's state | CRC | vg_plan | work | run |
 * gates, nets
 *     '---------------- a checkpoint ---------------'
 *
 * so that a checkpoint is sealed in place.  Sealed as a plain blob, the CRC
 * stands where the tag is.  All places are byte offsets into the arena.
 */
#ifndef VG_TRAIN_H
#define VG_TRAIN_H

#include "core.h"

/* The most parts of a row of columns that differ in exponent or in rate. */
enum { VG_PARTS = 3, VG_FACTORS = 3, VG_FACTOR_ONE = 65536 };

/* Some columns of a gate, from the end of the span before to this end, whose
 * sources are on exp. */
typedef struct {
    uint32_t end;
    uint8_t exp;
    uint8_t part;    /* vg_part */
    uint8_t symbols; /* they read the model's x, and that is a symbol */
    uint8_t reserved;
} vg_span;

/* A gate's weights, or the readout's, and what learning keeps beside them. */
typedef struct {
    uint32_t weights; /* int16[rows * stride] */
    uint32_t biases;  /* int32[rows]; 0: none */
    uint32_t exp;     /* uint8: E */
    uint32_t factors; /* int32[VG_FACTORS], by vg_part */
    uint32_t lo;      /* int16[rows * stride] */
    /* int32[rows * columns], and behind them int32[rows] if there are biases */
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
    uint32_t rows;
    uint32_t columns;
    uint32_t stride;
    vg_span span[VG_PARTS];
    uint8_t n_spans;
    uint8_t arg_exp;
    uint8_t layer;  /* bit of vg_learn.frozen; 32: it has none */
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
    uint32_t z;       /* int16[columns]: the sources of a step */
    uint32_t c0;      /* [n]: c before it */
    uint32_t h_by_c;  /* [n]: derivative of h by c */
    uint32_t dh, dc;  /* [n]: errors */
    uint32_t dr;      /* [columns]: errors of the sources */
    uint32_t z_tape;  /* int16[columns - skipped][k2] */
    uint32_t c_tape;  /* [n]: c before a step, and */
    uint32_t h_tape;  /* int16[n]: h after it where z has no h; 0: none */
    uint32_t skipped; /* columns of symbols, which z_tape lacks */
    uint32_t values;  /* int16[rows], c1 [n], h int16[n]: a step off the tape */
    uint32_t c1;
    uint32_t h;
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
    uint32_t run, run_size;
    uint32_t readout_z;       /* int16[columns] of the readout */
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

/* What stands behind int32[rows * columns]: the biases' part. */
static inline int32_t *vg_biases_of(const vg_train *t, const vg_gate *g,
                                    uint32_t at)
{
    return vg_ints(t, at) + g->rows * g->columns;
}

static inline int vg_exp_of(const vg_train *t, const vg_gate *g)
{
    return *(const uint8_t *)vg_at(t, g->exp);
}

/* ---- columns: all of a span, or those that a symbol may have touched --- */

typedef struct {
    const uint16_t *list; /* null: all */
    uint32_t begin;
    uint32_t count;
} vg_columns;

static inline uint32_t vg_span_begin(const vg_gate *g, const vg_span *s)
{
    return s == g->span ? 0 : s[-1].end;
}

static inline vg_columns vg_span_columns(const vg_gate *g, const vg_span *s)
{
    const uint32_t begin = vg_span_begin(g, s);
    const vg_columns all = {NULL, begin, s->end - begin};
    return all;
}

static inline uint32_t vg_column(const vg_columns *c, uint32_t k)
{
    return c->begin + (c->list ? c->list[k] : k);
}

/* ---- plan.c --------------------------------------------------------- */

/* Give everything its place.  gates and nets may be null: then only p is
 * filled.  plain: bytes of the 16-bit blob without its CRC.  VG_E_SIZE beyond
 * 2 GiB. */
int vg_plan_lay(const vg_model *m, const vg_learn *learn, uint32_t plain,
                vg_plan *p, vg_gate *gates, vg_net *nets);

/* ---- jac.c ---------------------------------------------------------- */

/* The derivatives of one step on q24 (docs/numbers-learning.md): gate k's by
 * its argument in gates[k].derivatives, h's by c in net->h_by_c.  values: of
 * the gates, one after the other.  c0, c1: before and after. */
void vg_derive(vg_train *t, const vg_layer *l, const vg_net *net,
               const vg_sig *values, const int32_t *c0, const int32_t *c1,
               const vg_sig *h);

/* From net's dh and dc (and dr, errors of gates that were fed back) to the
 * errors of the arguments, in gates[k].errors.  dc gets the error of c at this
 * step. */
void vg_step_back(vg_train *t, const vg_layer *l, const vg_net *net,
                  const int32_t *c1, const vg_sig *h);

/* An error at a signal that lies on its limit: 0 if it points outward. */
static inline int32_t vg_inward(int32_t d, int32_t signal, int32_t low,
                                int32_t high)
{
    return (signal >= high && d < 0) || (signal <= low && d > 0) ? 0 : d;
}

/* Does this gate's argument act on h, not on c? */
static inline int vg_acts_on_h(const vg_gate *g)
{
    return g->letter == 'o' || g->letter == 'a';
}

/* ---- loss.c --------------------------------------------------------- */

/* VG_E_ARG if the target is out of range. */
int vg_target_check(const vg_train *t, const vg_sig *target);

/* The errors of the logits into d_logits, and the loss, from y and the run's
 * logits. */
void vg_loss_step(vg_train *t, const vg_sig *y, const vg_sig *target);

/* ---- gradient.c ----------------------------------------------------- */

/* The rate of a part of a gate, q24; 0 if it is frozen. */
int32_t vg_rate_of(const vg_train *t, const vg_gate *g, uint32_t part);

/* *g += d, counted where it does not fit. */
void vg_add(vg_train *t, int32_t *g, int64_t d);

/* G += d z for one row, on every span that learns; z by column, or null in the
 * spans of symbols, where it is 1.0 in the column symbol. */
void vg_gather(vg_train *t, const vg_gate *g, uint32_t row, int32_t d,
               const vg_sig *z, uint32_t symbol);

/* dr[j], j in begin..end-1: the errors of a gate range's sources. */
void vg_transposed(const vg_train *t, const vg_gate *g, uint32_t n_gates,
                   uint32_t begin, uint32_t end, int32_t *dr);

/* Note a symbol in a list of at most n_in, once: its mark is where it stands,
 * counted from 1. */
void vg_note(const vg_train *t, uint32_t list, uint32_t mark, uint32_t *n,
             uint32_t symbol);

/* Forget such a list. */
void vg_forget(const vg_train *t, uint32_t list, uint32_t mark, uint32_t *n);

/* ---- tbptt.c, rtrl97.c ------------------------------------------------ */

/* After a layer's step on net's z and c0. */
void vg_tbptt_record(vg_train *t, uint32_t layer, const vg_sig *values);
/* After all layers: dh is the error of the last h, or null. */
void vg_tbptt_step(vg_train *t, const vg_input *x, const int32_t *dh);
void vg_tbptt_flow(vg_train *t);

void vg_rtrl97_record(vg_train *t, const vg_input *x, const vg_sig *values);
void vg_rtrl97_step(vg_train *t, const vg_input *x, const int32_t *dh);
void vg_rtrl97_reset(vg_train *t);

/* ---- masters: 65536 hi + lo, such that hi is within +-32767 ------------- */

enum { VG_MASTER_MIN = -2147450880, VG_MASTER_MAX = 2147450879 };

static inline int32_t vg_master(int64_t x)
{
    return x < VG_MASTER_MIN   ? VG_MASTER_MIN
           : x > VG_MASTER_MAX ? VG_MASTER_MAX
                               : (int32_t)x;
}

static inline int32_t vg_master_of(vg_sig hi, int16_t lo)
{
    return hi * 65536 + lo;
}

static inline void vg_set_master(int32_t x, vg_sig *hi, int16_t *lo)
{
    x = vg_master(x);
    *hi = (vg_sig)fx_floor32(x + 32768, 16);
    *lo = (int16_t)(x - *hi * 65536);
}

/* ---- masters.c ------------------------------------------------------ */

/* Lower a gate's exponent by one. */
void vg_fall(vg_train *t, vg_gate *g);

/* Is some |hi| or |bias| of a gate at its limit or above? */
int vg_exceeds(const vg_train *t, const vg_gate *g, int32_t hi, int32_t bias);

/* ---- update.c ------------------------------------------------------- */

/* Turn the gradients into an update, and forget them. */
void vg_update(vg_train *t);

/* ---- checkpoint.c ----------------------------------------------------- */

/* Where the training's state is in m's blob and its length, null if there is
 * none; and where the sections end that stay: before it. */
const uint8_t *vg_state_find(const vg_model *m, uint32_t *sections,
                             uint32_t *length);

/* Can this state of the right length have come about?  If not, places in it
 * may lead elsewhere.  Numbers are not looked at: none can do harm. */
int vg_state_ok(const vg_model *m, const vg_learn *learn, const vg_plan *p,
                const uint8_t *state);

/* Go on from the state that lies in the arena. */
void vg_state_resume(vg_train *t);

/* ---- widen.c -------------------------------------------------------- */

/* Bytes of m's blob without CRC, up to `sections`, with 16-bit weights. */
uint64_t vg_widen_size(const vg_model *m, uint32_t sections);

/* Write it to `to`.  Weights of 8 bits are left out: zeros. */
void vg_widen(const vg_model *m, uint32_t sections, uint8_t *to);

/* ... until they come from m, a blob with 8 bits, by this. */
void vg_widen_masters(vg_train *t, const vg_model *m);

#endif
