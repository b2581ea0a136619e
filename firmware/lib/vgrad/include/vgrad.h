/* vgrad - recurrent networks in integers, for microcontrollers.
 *
 *   blob --vg_model_open--> vg_model --vg_run_*--> outputs
 *
 * Numbers  A signal (vg_sig) is an int16 that stands for raw / 2^e; the model
 *          states e.  A name ending in _qN is on the fixed scale raw / 2^N.
 *          Results round half up; what overflows is clamped, never wraps.
 *          docs/numbers.md is the specification.
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
 *          VG_SMALL_TABLES saves 2,304 bytes of flash for some instructions
 *          more a function, the bits stay the same.  VG_ASSERT(truth) is empty
 *          unless defined.
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

typedef int16_t vg_sig; /* a signal: raw / 2^e, e stated by the model */

enum {
    VG_VERSION = 0x000100,
    VG_BLOB_VERSION = 1,
    VG_ONE = 16384 /* 1.0 in q14 */
};

typedef enum {
    VG_OK = 0,
    VG_E_ARG = -1,    /* null pointer or value out of its stated range */
    VG_E_ALIGN = -2,  /* blob or arena is not 4-byte aligned */
    VG_E_SIZE = -3,   /* blob cut short, or arena or buffer too small */
    VG_E_MAGIC = -4,  /* not a blob */
    VG_E_FORMAT = -5, /* blob version, cell, shape or value this build lacks */
    VG_E_CRC = -6,    /* blob damaged */
    VG_E_STATE = -7   /* a saved state of another model, or damaged */
} vg_err;

/* A short English text for a vg_err; never null. */
const char *vg_err_text(int err);

/* ---- model: a checked, read-only view of a blob --------------------- */

typedef enum { VG_LINEAR = 0, VG_LOGISTIC = 1, VG_SOFTMAX = 2 } vg_output;
typedef enum { VG_EVERY = 0, VG_LAST = 1 } vg_mode;

typedef struct {
    const uint8_t *blob; /* flash or RAM; must outlive the view */
    uint32_t size;       /* bytes, CRC included */
    uint32_t state_size; /* bytes that vg_run_save writes */
    uint16_t n_in;       /* length of x */
    uint16_t n_out;      /* length of y */
    uint16_t n_layers;   /* recurrent layers; a readout may follow them */
    uint8_t output;      /* vg_output of the readout; VG_LINEAR if none */
    uint8_t mode;        /* vg_mode: is y meant at every step or the last */
    uint8_t x_exp;       /* x = raw / 2^x_exp */
    uint8_t y_exp;       /* y = raw / 2^y_exp */
    uint8_t logit_exp;   /* logits = raw / 2^logit_exp */
    uint8_t reserved;
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
    uint32_t *arena;
    uint32_t saturated; /* unbounded values clamped since the last reset,
                           modulo 2^32 */
} vg_run;

/* Bytes of arena a run needs. */
int32_t vg_run_size(const vg_model *m);

/* Bind a run to a model and reset it.  VG_E_ARG, _ALIGN, _SIZE. */
int vg_run_init(vg_run *r, const vg_model *m, void *arena, uint32_t size);

/* One time step: x[n_in] in, y[n_out] out.  y may be null: the state moves on
 * and the readout is not computed.  x and y may not overlap. */
void vg_run_step(vg_run *r, const vg_sig *x, vg_sig *y);

/* As steps calls of vg_run_step on x[steps][n_in] and y[steps][n_out]; in
 * mode VG_LAST y is y[n_out], the output of the last step, and the steps
 * before it have no y.  y may be null; 0 steps change nothing. */
void vg_run_steps(vg_run *r, const vg_sig *x, uint32_t steps, vg_sig *y);

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

/* cdef end */
#ifdef __cplusplus
}
#endif
#endif
