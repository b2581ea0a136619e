/* vgrad - recurrent networks in integers, for microcontrollers.
 *
 *   blob --vg_model_open--> vg_model --vg_run_*----> outputs
 *                               '------vg_train_*--> a new blob
 *   blob --vg_slots_save--> flash --vg_slots_newest--> blob
 *
 * Numbers  A signal (vg_sig) is an int16 that stands for raw / 2^e; the model
 *          states e.  A name ending in _qN is on the fixed scale raw / 2^N.
 *          Results round half up; what overflows is clamped, never wraps.
 *          docs/numbers.md and docs/numbers-learning.md are the specification.
 * Memory   Nothing is allocated and there are no mutable globals.  Each
 *          object lives in a struct and an arena, both the caller's.  An
 *          arena is 4-byte aligned, at least vg_*_size() bytes long, and read
 *          and written by the core alone; the size of a model's arena is the
 *          same on every machine.
 *          Objects hold pointers: do not copy or move them once set up.
 * Errors   Negative is a vg_err; zero or more is success.  A call that fails
 *          changes nothing.  Shapes are checked when opening, not stepping.
 * Threads  Calls on different objects may run at once.
 * Build    All of src/ with include/ on the path; nothing to configure.
 *          VG_SMALL_TABLES saves up to 3 KB of flash for some instructions
 *          more a function, the bits stay the same.  VG_ASSERT(truth) is empty
 *          unless defined.  VG_CELLS, VG_BLOCKS, VG_WEIGHTS, VG_LAYOUTS,
 *          VG_OUTPUTS, VG_INPUTS, VG_METHODS, VG_RULES and VG_CHECKPOINTS,
 *          numbers, leave out what a program does not use, and VG_FAST what
 *          only makes it faster: src/options.h.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VGRAD_H
#define VGRAD_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
/* cdef: the Python binding is built from the lines down to "cdef end". */

/* Of the places in a vg_opened: a header made for another one does not compile.
 */
#define VG_OPENED_VERSION 1

typedef int16_t vg_sig; /* a signal: raw / 2^e, e stated by the model */

enum {
    VG_VERSION = 0x000100,
    VG_BLOB_VERSION = 1,
    VG_ONE = 16384 /* 1.0 in q14 */
};

typedef enum {
    VG_OK = 0,
    VG_E_ARG = -1,    /* null pointer or value out of its stated range */
    VG_E_ALIGN = -2,  /* blob or arena not 4-, slot not 8-byte aligned */
    VG_E_SIZE = -3,   /* blob cut short, or arena or buffer too small */
    VG_E_MAGIC = -4,  /* not a blob */
    VG_E_FORMAT = -5, /* blob version, cell, shape or value this build lacks */
    VG_E_CRC = -6,    /* blob damaged */
    VG_E_STATE = -7,  /* a saved state of another model, or damaged */
    VG_E_FLASH = -8,  /* a flash callback failed, or flash kept other bytes */
    VG_E_LAYOUT = -9  /* learning takes weights in the layout rows alone */
} vg_err;

/* A short English text for a vg_err; never null. */
const char *vg_err_text(int err);

/* ---- model: a checked, read-only view of a blob --------------------- */

typedef enum { VG_LINEAR = 0, VG_LOGISTIC = 1, VG_SOFTMAX = 2 } vg_output;
typedef enum { VG_EVERY = 0, VG_LAST = 1, VG_FINAL = 2 } vg_mode;

typedef struct {
    const uint8_t *blob; /* flash or RAM; must outlive the view */
    uint32_t size;       /* bytes, CRC included */
    uint32_t state_size; /* bytes that vg_run_save writes */
    uint16_t n_in;       /* length of x */
    uint16_t n_out;      /* length of y */
    uint16_t n_layers;   /* recurrent layers; a readout may follow them */
    uint8_t output;      /* vg_output of the readout; VG_LINEAR if none */
    uint8_t mode;        /* vg_mode: which y is meant, that of every step, of
                            the last, or of each layer's end */
    uint8_t x_exp;       /* x = raw / 2^x_exp */
    uint8_t y_exp;       /* y = raw / 2^y_exp */
    uint8_t logit_exp;   /* logits = raw / 2^logit_exp */
    uint8_t whole;       /* 1: a layer runs backwards, so that only a whole
                            sequence passes, by vg_run_whole */
} vg_model;

/* Check blob[size] (magic, version, shapes, values, CRC) and view it in
 * place.  size may exceed the blob's own.  VG_E_ARG, _ALIGN, _SIZE, _MAGIC,
 * _FORMAT, _CRC. */
int vg_model_open(vg_model *m, const void *blob, uint32_t size);

/* Sensor counts to signals by the blob's own integers: x[k] =
 * round((count[k] - offset[k]) * mult[k] / 2^shift[k]), or the clamped count
 * where the blob has no input scaling.  Both are of length n_in.  Returns how
 * many values were clamped. */
int vg_model_scale(const vg_model *m, const int32_t *count, vg_sig *x);

/* ---- run: one sequence passing through a model ---------------------- */

typedef struct {
    const vg_model *model;
    const uint32_t *places; /* of vg_opened, or at the arena's front */
    uint32_t *arena;        /* behind them */
    uint32_t saturated;     /* unbounded values clamped since the last reset,
                               modulo 2^32 */
    uint32_t keeps_values;  /* of the gates, beyond the readout: for RTRL97 */
} vg_run;

/* Bytes of arena a run needs. */
int32_t vg_run_size(const vg_model *m);

/* Bind a run to a model and reset it.  VG_E_ARG, _ALIGN, _SIZE. */
int vg_run_init(vg_run *r, const vg_model *m, void *arena, uint32_t size);

/* A model that was opened on the desk and is a constant of the program, as
 * `pyvgrad export --header` writes it: vg_model_opened.  Its model is what
 * vg_model_open gives and goes into any other call. */
typedef struct {
    vg_model model;
    const uint32_t *places; /* what lies where in the blob and in the arena */
    uint32_t size;          /* bytes of arena a run needs; less than
                               vg_run_size, for places are not in it */
} vg_opened;

/* As vg_model_open and vg_run_init, which need not be linked then: the blob is
 * not checked again.  VG_E_ARG, _ALIGN, _SIZE; VG_E_FORMAT where the build
 * lacks what the model has. */
int vg_run_init_opened(vg_run *r, const vg_opened *o, void *arena,
                       uint32_t size);

/* One time step: x[n_in] in, y[n_out] out.  y may be null: the state moves on
 * and the readout is not computed.  x and y may not overlap.  VG_E_ARG where
 * m->whole: then nothing is done; and so for all four. */
int vg_run_step(vg_run *r, const vg_sig *x, vg_sig *y);

/* As steps calls of vg_run_step on x[steps][n_in] and y[steps][n_out]; in
 * modes VG_LAST and VG_FINAL y is y[n_out], the output of the last step, and
 * the steps before it have no y.  y may be null; 0 steps change nothing. */
int vg_run_steps(vg_run *r, const vg_sig *x, uint32_t steps, vg_sig *y);

/* As vg_run_step on the one-hot x of a symbol: x[symbol] = 1.0, zeros
 * elsewhere; the same bits, at a cost that does not grow with n_in.  VG_E_ARG
 * if symbol >= n_in: then nothing is done. */
int vg_run_symbol(vg_run *r, uint32_t symbol, vg_sig *y);

/* As vg_run_steps on symbols symbol[steps].  VG_E_ARG. */
int vg_run_symbols(vg_run *r, const uint16_t *symbol, uint32_t steps,
                   vg_sig *y);

/* A whole sequence x[steps][n_in], steps >= 1, through any model: layer by
 * layer, each from its state now to its state at the end, which of a layer that
 * runs backwards is that after the first step.  y as of vg_run_steps, and the
 * same bits where that is admitted; in mode VG_FINAL y[n_out] is read from each
 * layer's h at its own end, in VG_LAST from those at the last step.  buf[size],
 * size >= vg_run_whole_size, 4-byte aligned, is only for the call; x, y and buf
 * may not overlap.  y may be null.  VG_E_ARG, _ALIGN, _SIZE. */
int vg_run_whole(vg_run *r, const vg_sig *x, uint32_t steps, vg_sig *y,
                 void *buf, uint32_t size);

/* Bytes of buf for that many steps.  VG_E_ARG; VG_E_SIZE beyond 2 GiB. */
int32_t vg_run_whole_size(const vg_model *m, uint32_t steps);

/* The readout's values of the last step with a y, before its output function:
 * logits[n_out] on logit_exp.  The same as y where there is no readout. */
const vg_sig *vg_run_logits(const vg_run *r);

/* Start a new sequence: the blob's initial state, or zero. */
void vg_run_reset(vg_run *r);

/* Copy the state to buf[size], size >= m->state_size; the same bytes on every
 * machine.  Returns the bytes written.  VG_E_ARG, _SIZE. */
int32_t vg_run_save(const vg_run *r, void *buf, uint32_t size);

/* Go on from a state that vg_run_save wrote for the same blob, in buf[size],
 * size >= m->state_size.  VG_E_ARG, _SIZE, _STATE. */
int vg_run_restore(vg_run *r, const void *buf, uint32_t size);

/* ---- train: a run that also changes the weights --------------------- */

typedef enum { VG_TBPTT = 0, VG_RTRL97 = 1 } vg_method;
typedef enum { VG_SGD = 0, VG_MOMENTUM = 1, VG_RMSPROP = 2 } vg_rule;
typedef enum { VG_MSE = 0, VG_CROSS_ENTROPY = 1 } vg_loss;
enum { VG_NESTEROV = 1, VG_SYMBOLS = 2 }; /* vg_learn.flags */
enum { VG_FROZEN_READOUT = 31 };          /* bit of vg_learn.frozen */

typedef struct {
    uint8_t method;      /* VG_RTRL97: one layer of lstm97, lstm, lstm_coupled,
                            lstm_peephole, gru or ugrnn; its arena does not
                            grow with the lag */
    uint8_t rule;        /* how a gradient becomes an update */
    uint8_t loss;        /* VG_MSE: linear and logistic outputs;
                            VG_CROSS_ENTROPY: logistic and softmax */
    uint8_t flags;       /* VG_NESTEROV: with VG_MOMENTUM; VG_SYMBOLS: every x
                            is a symbol, and the tape keeps just that */
    uint16_t k1;         /* steps between updates; 0: only at a sequence's end.
                            At most k2; VG_RTRL97: 0 or 1 */
    uint16_t k2;         /* TBPTT: steps looked back, >= 1; VG_RTRL97: 0 */
    uint32_t frozen;     /* bit k: layer k keeps its weights, k <= 30; bit 31:
                            the readout does */
    int32_t rate_q24;    /* learning rate, > 0 */
    int32_t decay_q14;   /* momentum, or of RMSprop's mean; 0..VG_ONE - 1; 0
                            with VG_SGD */
    int32_t clip_q16;    /* longest gradient (L2 norm), >= 0; 0: no limit */
    int32_t epsilon_q24; /* RMSprop: its square joins the mean, > 0; else 0 */
    uint32_t seed;       /* of stochastic rounding; 0 rounds to nearest */
} vg_learn;

typedef struct {
    /* To be read; the core alone writes. */
    vg_learn learn;     /* vg_train_tune changes it */
    uint32_t sequences; /* ended */
    uint32_t steps;     /* taken */
    uint32_t updates;   /* times the weights changed */
    uint32_t clipped;   /* updates whose gradient was shortened */
    uint32_t falls;     /* exponents lowered to make room for weights */
    uint32_t saturated; /* weights, gradients and traces clamped */
    uint32_t norm_q16;  /* of the gradient before clipping, last update */
    int32_t loss_q16;   /* of the last step that had a target */
    vg_model model;     /* shapes and exponents; its blob is not sealed as it
                           stands: ask vg_train_blob for one */
    /* The core's own. */
    vg_run run; /* only run.saturated and vg_run_logits may be read */
    uint32_t *arena;
    uint32_t plan; /* arena: where it says what lies where */
} vg_train;

/* Bytes of arena for training m like this, or a vg_err (VG_E_ARG, VG_E_SIZE
 * beyond 2 GiB, VG_E_LAYOUT).  learn null: to go on from the training state in
 * m's blob (VG_E_FORMAT if it has none). */
int32_t vg_train_size(const vg_model *m, const vg_learn *learn);

/* Start training from the weights of m, or, learn null, go on where the
 * checkpoint in m's blob stopped.  The weights are copied; m and its blob are
 * not kept.  A 16-bit blob may itself lie at the start of the arena.  VG_E_ARG,
 * _ALIGN, _SIZE, _FORMAT, _LAYOUT. */
int vg_train_init(vg_train *t, const vg_model *m, const vg_learn *learn,
                  void *arena, uint32_t size);

/* Change frozen, rate, decay, clip, epsilon and seed.  VG_E_ARG if one is out
 * of its range or anything else differs. */
int vg_train_tune(vg_train *t, const vg_learn *learn);

/* One part of a gate's weights: those from x, from the recurrent vector, and
 * the bias.  Of a readout: shortcuts from x, those from h, and the bias. */
typedef enum { VG_FROM_X = 0, VG_FROM_H = 1, VG_BIAS = 2 } vg_part;

/* The rate of a part is learn.rate times factor, 65536 at first; 0 freezes it.
 * gate counts those of the layer in the blob's order; layer n_layers with gate
 * 0 is the readout.  VG_E_ARG also where there is no such part. */
int vg_train_rate(vg_train *t, uint32_t layer, uint32_t gate, uint32_t part,
                  int32_t factor_q16);

/* One time step as vg_run_step, then learn from the target, or from nothing
 * where target is null.  target[n_out] is on y_exp; for a softmax it is
 * target[1], the class.  y may be null.  1: the weights changed; 0: not yet;
 * VG_E_ARG for a target out of range, or x where flags say symbols. */
int vg_train_step(vg_train *t, const vg_sig *x, const vg_sig *target,
                  vg_sig *y);

/* The same for a symbol; VG_E_ARG without VG_SYMBOLS.  With VG_SGD the cost
 * does not grow with n_in, but where an exponent falls; momentum and RMSprop
 * move every weight at an update. */
int vg_train_symbol(vg_train *t, uint32_t symbol, const vg_sig *target,
                    vg_sig *y);

/* As steps calls of these, without y: x[steps][n_in] or symbol[steps],
 * target[steps][n_out], or target[steps] for a softmax.  known[steps] is 0
 * where a step has no target; null: all have one.  The model's mode has no part
 * in this, for a sequence may come in many calls: to teach a VG_LAST model its
 * last step alone, let known be 0 at every other.  Returns how often the
 * weights changed; VG_E_ARG, then none of the steps is taken. */
int32_t vg_train_steps(vg_train *t, const vg_sig *x, const vg_sig *target,
                       const uint8_t *known, uint32_t steps);
int32_t vg_train_symbols(vg_train *t, const uint16_t *symbol,
                         const vg_sig *target, const uint8_t *known,
                         uint32_t steps);

/* End of a sequence: apply what is pending, then reset.  1 or 0, as above. */
int vg_train_end(vg_train *t);

/* Seal the weights and return them as a blob of *size bytes in the arena, good
 * until the next call on t.  size may be null: vg_model_open reads the length
 * in the blob.  t null or all zeros: null, and *size is 0.
 * vg_train_checkpoint's has the whole state of the training in it besides: it
 * can be run as well, and vg_train_init goes on from it as if nothing had
 * happened. */
const void *vg_train_blob(vg_train *t, uint32_t *size);
const void *vg_train_checkpoint(vg_train *t, uint32_t *size);

/* ---- slots: two places in flash, the newer whole one wins ----------- */

/* The callbacks return 0 if all is well; what they did can then be read at
 * at[], past any cache.  What an erased byte reads is left open. */
typedef struct {
    const uint8_t *at[2]; /* memory-mapped slots, 8-byte aligned, apart */
    uint32_t size;        /* bytes in each: whole erase blocks; a blob takes 32
                             more than its own, all rounded up to 32 */
    void *ctx;            /* for the callbacks */
    int (*erase)(void *ctx, int slot); /* the whole slot */
    /* Bytes [at, at + n) of the slot from p.  n is 32 and at a multiple of it,
     * so that no granule is written twice between erases; p is on the stack,
     * 4-byte aligned. */
    int (*write)(void *ctx, int slot, uint32_t at, const void *p, uint32_t n);
} vg_slots;

/* The newest blob that is whole, or null; *size gets its length.  It stays
 * where it is until the next save but one.  The callbacks may be null. */
const void *vg_slots_newest(const vg_slots *s, uint32_t *size);

/* Write the blob over the other slot, its header last, so that power may fail
 * at any point: vg_slots_newest then gives this blob or the one before, and so
 * it does after VG_E_FLASH.  The blob may be the newest itself; it may not lie
 * in the slot that is to be erased (VG_E_ARG).
 * VG_E_ARG, _ALIGN, _SIZE, what vg_model_open says of the blob, _FLASH. */
int vg_slots_save(const vg_slots *s, const void *blob, uint32_t size);

/* cdef end */
#ifdef __cplusplus
}
#endif
#endif
