/* train.h - what the files that train do for each other. */
#ifndef VG_TRAIN_H
#define VG_TRAIN_H

#include <string.h>

#include "plan.h"

/* ---- jac.c ---------------------------------------------------------- */

/* What a step of a layer left: the gates' values, one gate after the other, and
 * h and c before and after it. */
typedef struct {
    const vg_sig *values;
    const vg_sig *h0; /* null but for gru_reset_before */
    const vg_sig *h1;
    const int32_t *c0, *c1;
} vg_left;

/* The derivatives of one step on q24 (docs/numbers-learning.md): gate k's by
 * its argument in gates[k].derivatives, h's by c in net->h_by_c. */
void vg_derive(vg_train *t, const vg_layer *l, const vg_net *net,
               const vg_left *left);

/* From net's dh, dy and dc (and dr, errors of gates that were fed back) to the
 * errors of the arguments, in gates[k].errors.  dc gets the error of c at this
 * step; dr, with TBPTT, what reaches r by other ways than matrices that read
 * it.  Cells that vg_in_one_pass come here with RTRL97 alone. */
void vg_step_back(vg_train *t, const vg_layer *l, const vg_net *net,
                  const vg_left *left);

/* dc: from this step's c to that of the step before. */
void vg_carry_back(vg_train *t, const vg_layer *l, const vg_net *net,
                   const vg_sig *values);

/* What c passes to the next step, q14: f of a block, or what stands for it. */
int32_t vg_kept(const vg_layer *l, const vg_sig *values, uint32_t b);

/* The gate of a letter that a layer has. */
vg_gate *vg_gate_of(const vg_train *t, const vg_net *net, char letter);

/* s (1 - s), q28. */
static inline int32_t vg_logistic_q28(int32_t s)
{
    return s * (VG_ONE - s);
}

/* The errors of a gate's arguments: those of a row's cells times derivatives,
 * plus what was fed back. */
void vg_gate_back(vg_train *t, const vg_layer *l, const vg_gate *g,
                  const int32_t *from, const int32_t *fed_back);

/* What of the argument's error in row u comes back through its own column. */
int32_t vg_own_back(const vg_train *t, const vg_gate *g, uint32_t u);

/* ---- jac_lstm.c, jac_gru.c: the same for the two families -------------- */

void vg_lstm_derive(vg_train *t, const vg_layer *l, const vg_net *net,
                    const vg_left *left);
void vg_lstm_back(vg_train *t, const vg_layer *l, const vg_net *net,
                  const vg_left *left);
void vg_gru_derive(vg_train *t, const vg_layer *l, const vg_net *net,
                   const vg_left *left);
void vg_gru_back(vg_train *t, const vg_layer *l, const vg_net *net,
                 const vg_left *left);

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

/* Note in all spans whether they learn: a rate may have changed. */
void vg_rates(vg_train *t);

/* fx_round and fx_to31, for all but inner loops: where there is no long shift
 * they are large. */
int64_t vg_round(int64_t x, int n);
int32_t vg_to31(int64_t x, int n);

/* *g = sat31(x), counted where it does not fit. */
static inline void vg_set(vg_train *t, int32_t *g, int64_t x)
{
    *g = fx_sat31(x);
    t->saturated += *g != x;
}

/* The columns of a span that reads a symbol: those on the list. */
vg_columns vg_list_of(const vg_train *t, const vg_gate *g);

/* The columns of a span whose sources may be other than 0. */
static inline vg_columns vg_listed(const vg_train *t, const vg_gate *g,
                                   const vg_span *s)
{
    return vg_reads_symbol(s) ? vg_list_of(t, g) : vg_all(g, s);
}

/* A span's sources; null if it reads the symbol, or its own, which for row u is
 * vg_read_own. */
const vg_sig *vg_read(const vg_sources *z, const vg_span *s);
int32_t vg_read_own(const vg_sources *z, const vg_span *s, uint32_t u);

/* G += d z, d[rows] the errors of the arguments, on every span that learns. */
void vg_gather(vg_train *t, const vg_gate *g, const int32_t *d,
               const vg_sources *z);

/* Note a symbol in a list of at most n_in, once: its mark is where it stands,
 * counted from 1. */
void vg_note(const vg_train *t, uint32_t list, uint32_t mark, uint32_t *n,
             uint32_t symbol);

/* Forget such a list. */
void vg_forget(const vg_train *t, uint32_t list, uint32_t mark, uint32_t *n);

/* TBPTT or RTRL97?  A constant where only one is compiled in. */
static inline int vg_by_tbptt(const vg_learn *learn)
{
    return VG_HAS_METHOD(VG_TBPTT) &&
           (!VG_HAS_METHOD(VG_RTRL97) || learn->method == VG_TBPTT);
}

static inline int vg_is_tbptt(const vg_train *t)
{
    return vg_by_tbptt(&t->learn);
}

/* ---- transposed.c --------------------------------------------------- */

/* Before errors flow back through these gates: pack their weights where that
 * makes it faster, those of x only if a layer below wants its errors.  And
 * after: leave zeros for the gradients of symbols. */
void vg_pack(const vg_train *t, const vg_gate *g, uint32_t n_gates, int below);
void vg_unpack(const vg_train *t, const vg_gate *g, uint32_t n_gates);

/* Add to dz[n] the errors of the sources in those spans of the gates. */
void vg_transposed(const vg_train *t, const vg_gate *g, uint32_t n_gates,
                   vg_reads reads, uint32_t n, int32_t *dz);

/* ---- tbptt*.c, rtrl97.c ------------------------------------------ */

/* Before a layer's step, when its z is complete, and after it. */
void vg_tbptt_before(vg_train *t, uint32_t layer);
void vg_tbptt_after(vg_train *t, uint32_t layer, const vg_sig *values);
/* After all layers: dh is the error of the last h, or null. */
void vg_tbptt_step(vg_train *t, const vg_input *x, const int32_t *dh);
void vg_tbptt_flow(vg_train *t);

/* One step back: where it is on the tape and where the step after it, if it is
 * not the newest; and the errors of what the layer gave, which are taken: they
 * leave zeros. */
typedef struct {
    uint32_t at, next;
    int newest, oldest;
    int32_t *above;
    uint32_t apart; /* of the errors */
} vg_back;

/* c after the step, and how far apart it is from cell to cell. */
static inline const int32_t *vg_c_after(const vg_train *t, const vg_layer *l,
                                        const vg_net *net, const vg_back *b,
                                        uint32_t *apart)
{
    *apart = b->newest ? 1 : t->learn.k2;
    return b->newest ? vg_run_c(&t->run, l) : vg_ints(t, net->c_tape) + b->next;
}

/* From a gate to the k-th after it, whose rows are as many: between their
 * errors, and so between those on the tape; and between their values there. */
static inline uint32_t vg_errors_apart(const vg_gate *g, uint32_t k)
{
    return (g[k].errors - g->errors) / 4;
}

static inline uint32_t vg_values_apart(const vg_gate *g, uint32_t k)
{
    return (g[k].gates_tape - g->gates_tape) / 2;
}

/* The same in one pass, from the tape to the tape: for a plain LSTM or a GRU.
 * dr is taken, too. */
static inline int vg_in_one_pass(const vg_layer *l)
{
    return !VG_HAS_PASSES || vg_is_cell(l, VG_GRU) ||
           (VG_HAS_PLAIN_LSTM && !vg_is_cell(l, VG_LSTM_PEEPHOLE) &&
            vg_is_plain_lstm(l));
}

void vg_tbptt_lstm(vg_train *t, const vg_layer *l, const vg_net *net,
                   const vg_back *b);
void vg_tbptt_gru(vg_train *t, const vg_layer *l, const vg_net *net,
                  const vg_back *b);

/* G of the layers from `low` on, from the errors on the tape. */
void vg_tbptt_gradient(vg_train *t, uint32_t low);

void vg_rtrl97_before(vg_train *t);
void vg_rtrl97_after(vg_train *t, const vg_input *x, const vg_sig *values);
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

/* Lower the exponent of joined gates, g[n], by one and again, while it can be
 * lowered and some |hi| or |bias| is at its limit or above, at most `most`
 * times.  Returns how often. */
uint32_t vg_fall(vg_train *t, vg_gate *g, uint32_t n, int32_t hi, int32_t bias,
                 uint32_t most);

/* ---- update.c ------------------------------------------------------- */

/* Turn the gradients into an update, and forget them. */
void vg_update(vg_train *t);

/* ---- checkpoint.c ----------------------------------------------------- */

/* Where the training's state is in m's blob and its length, null if there is
 * none; *sections, where they begin, gets where those end that stay. */
const uint8_t *vg_state_find(const vg_model *m, uint32_t *sections,
                             uint32_t *length);

/* Can this state of the right length have come about?  If not, places in it
 * may lead elsewhere.  Numbers are not looked at: none can do harm. */
int vg_state_ok(const vg_model *m, const vg_learn *learn, const vg_plan *p,
                const uint8_t *state);

/* Go on from the state that lies in the arena. */
void vg_state_resume(vg_train *t);

/* ---- copies ---------------------------------------------------------- */

/* To where it is already, or to a place apart. */
static inline void vg_move_bytes(uint8_t *to, const uint8_t *from, uint32_t n)
{
    if (to != from)
        memcpy(to, from, n);
}

/* ---- widen.c -------------------------------------------------------- */

/* Bytes by which 16-bit weights make m's blob longer; *end gets where its
 * records end. */
uint64_t vg_widen_more(const vg_model *m, uint32_t *end);

/* Write it to `to`, up to `sections`.  Weights of 8 bits are left out: zeros.
 */
void vg_widen(const vg_model *m, uint32_t sections, uint8_t *to);

/* ... until they come from m, a blob with 8 bits, by this. */
void vg_widen_masters(vg_train *t, const vg_model *m);

#endif
