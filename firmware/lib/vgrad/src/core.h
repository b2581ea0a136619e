/* core.h - what the files of the core share and the public header does not
 * show: the cell table, and a layer as found in a blob and laid in an arena.
 */
#ifndef VG_CORE_H
#define VG_CORE_H

#include <stddef.h>
#include <string.h>

#include "fx.h"
#include "options.h"
#include "vgrad.h"

/* For our own mistakes only; define it as assert where there is one. */
#ifndef VG_ASSERT
#define VG_ASSERT(truth) ((void)0)
#endif

enum {
    VG_MAX_GATES = 5,
    VG_MAX_EXP = 14,
    VG_HEADER = 24, /* bytes */
    VG_CHANNEL = 8,
    VG_STATE_HEADER = 8
};

/* Places in the header, as in BLOB.md. */
enum {
    VG_AT_VERSION = 4,
    VG_AT_N_LAYERS = 6,
    VG_AT_SIZE = 8,
    VG_AT_N_IN = 12,
    VG_AT_N_OUT = 14,
    VG_AT_BITS = 16,
    VG_AT_LAYOUT = 17,
    VG_AT_MODE = 18,
    VG_AT_X_EXP = 19,
    VG_AT_COUNT_EXP = 20,
    VG_AT_FLAGS = 21,
    VG_AT_RESERVED = 22
};

/* How matrices lie in the blob. */
typedef enum {
    VG_ROWS, /* row by row */
    VG_WORDS /* column by column of groups: rows that fill a word */
} vg_layout;

/* Flags of the header. */
enum { VG_HAS_SCALING = 1, VG_HAS_READOUT = 2 };

typedef enum {
    VG_FORWARD,
    VG_REVERSE,
    VG_HALF_FORWARD, /* of a bidirectional layer */
    VG_HALF_REVERSE
} vg_direction;

/* The byte "fields" of BLOB.md. */
enum {
    VG_G_MASK = 3,
    VG_G_TANH = 0,
    VG_G_4S2 = 1,
    VG_G_S = 2,
    VG_H_MASK = 3 << 2,
    VG_H_TANH = 0 << 2,
    VG_H_2S1 = 1 << 2,
    VG_H_IDENTITY = 2 << 2,
    VG_OUTPUT_GATE = 1 << 4,
    VG_FORGET_GATE = 1 << 5,
    VG_RECURRENT = 1 << 6,
    VG_FEEDBACK = 1 << 7
};

/* Which clamps of an affine map's results are counted. */
enum { VG_COUNT_LOW = 1, VG_COUNT_HIGH = 2 };

/* One affine map, rows x columns: a = W z + b, a row on its own exponent.
 * Places are offsets into the blob, so that the struct, and with it an arena,
 * has one size on every machine. */
typedef struct {
    uint32_t weights; /* as vg_weight finds them */
    uint32_t biases;  /* int32[rows]; 0: none */
    uint32_t exps;    /* the accumulator's: uint8[1], or [rows] if bits == 8 */
    uint32_t columns;
    uint16_t rows;
    uint8_t bits;     /* 16 or 8 */
    uint8_t arg_exp;  /* of the result */
    uint8_t reads;    /* of a gate: its letter in the table's `reads` */
    uint8_t counts;   /* VG_COUNT_LOW, VG_COUNT_HIGH */
    uint8_t group;    /* rows that lie side by side: 1, or in words 32 / bits */
    uint8_t together; /* of a gate: how many from it on are one turn, or 1 */
} vg_map;

/* Of a weight; a constant in a build with one width. */
static inline uint32_t vg_bits_of(const vg_map *m)
{
    return VG_BITS(m->bits);
}

static inline uint32_t vg_group_of(const vg_map *m)
{
    return !VG_HAS_LAYOUT(VG_WORDS) ? 1
           : VG_HAS_LAYOUT(VG_ROWS) ? m->group
                                    : 32 / vg_bits_of(m);
}

static inline int vg_in_words(const vg_map *m)
{
    return vg_group_of(m) > 1;
}

static inline uint32_t vg_stride(const vg_map *m)
{
    return (m->columns + 3) & ~(uint32_t)3;
}

/* Rows with those that fill the last group, < 2^16 + 3. */
static inline uint32_t vg_padded_rows(const vg_map *m)
{
    return (m->rows + vg_group_of(m) - 1) & ~(vg_group_of(m) - 1);
}

/* Weight j of a row, padding included.  In words the highest bit of every row
 * but a group's last is flipped: BLOB.md says why. */
static inline int32_t vg_weight(const uint8_t *blob, const vg_map *m,
                                uint32_t row, uint32_t j)
{
    const uint32_t group = vg_group_of(m), k = row & (group - 1);
    const uint32_t flipped = k + 1 < group;
    const size_t at = (row - k) * vg_stride(m) + j * group + k;
    const uint8_t *w = blob + m->weights;

    if (vg_bits_of(m) == 8)
        return flipped ? w[at] - 128 : ((const int8_t *)w)[at];
    return flipped ? ((const uint16_t *)(const void *)w)[at] - 32768
                   : ((const int16_t *)(const void *)w)[at];
}

/* A layer: where it is in the blob and, as a run has it, in the arena.  A
 * change here, in vg_map or in vg_readout changes VG_OPENED_VERSION. */
typedef struct {
    vg_map gate[VG_MAX_GATES];
    uint32_t rows;    /* of all gates: their values at one step */
    uint32_t n_z;     /* z = [x; r] as far as matrices read r */
    uint32_t initial; /* a state image in the blob; 0: zeros */
    uint32_t n_r;     /* int16 values of r = [h; i; o] in the state */
    uint32_t c;       /* arena: int32[n_c], q20 */
    uint32_t z;       /* arena: int16 [x; r] */
    uint32_t n_c;     /* n, or 0 for a cell without c */
    uint16_t n_in;
    uint16_t n;
    uint16_t block;
    uint8_t cell; /* vg_cell_code */
    uint8_t fields;
    uint8_t h_exp;     /* of what the layer gives */
    uint8_t direction; /* vg_direction */
    uint8_t n_gates;
    uint8_t n_early; /* gates before the cell's function `between` */
} vg_layer;

typedef struct {
    vg_map map;      /* columns [h; x]; rows is 0 where there is no readout */
    uint32_t n_h;    /* columns of h */
    uint32_t output; /* vg_output */
    uint32_t a;      /* arena: the gates' arguments, one layer at a time */
    uint32_t logits; /* arena: int16[n_out] */
} vg_readout;

/* A cell: its gates, as data, and one function over the whole layer. */
typedef struct {
    char gates[VG_MAX_GATES + 1];     /* one letter each, in blob order */
    char reads[VG_MAX_GATES + 1];     /* what each reads: docs/numbers.md */
    char functions[VG_MAX_GATES + 1]; /* of each: s logistic, t tanh, r relu, n
                                         none, g by field */
    char shared[4];                   /* gates of which a block has only one */
    char optional[3];                 /* gates that a field can leave out */
    char cells[4];                    /* gates whose bias is a cell's */
    char carry;          /* int32 state: c, h itself in full width, or 0 */
    char gives;          /* to the layer above: h, or y */
    uint8_t fields;      /* the defaults */
    uint8_t free_fields; /* 0: the defaults are the only ones */
    uint8_t n_late;      /* gates, the last ones, that need the others' */
    /* From a (the arguments of the gates, gate by gate; overwritten by their
     * values), c and r of the step before to c and r of this one.  s or y lies
     * behind the values.  Returns how many unbounded values it
     * clamped.  between, if not null, comes before the late gates. */
    uint32_t (*between)(const vg_layer *l, vg_sig *a, int32_t *c, vg_sig *r);
    uint32_t (*unit)(const vg_layer *l, vg_sig *a, int32_t *c, vg_sig *r);
} vg_cell;

typedef enum {
    VG_RNN_TANH,
    VG_RNN_SIGMOID,
    VG_RNN_RELU,
    VG_LSTM97,
    VG_LSTM,
    VG_LSTM_COUPLED,
    VG_LSTM_PEEPHOLE,
    VG_GRU,
    VG_GRU_RESET_BEFORE,
    VG_INDRNN,
    VG_UGRNN,
    VG_PLUS_RNN,
    VG_N_CELLS
} vg_cell_code;

extern const vg_cell *const vg_cells[VG_N_CELLS]; /* null: left out */

static inline int vg_is_cell(const vg_layer *l, vg_cell_code code)
{
    return VG_HAS_CELL(code) && l->cell == code;
}

static inline int vg_gives_y(const vg_layer *l)
{
    return VG_HAS_Y && vg_cells[l->cell]->gives == 'y';
}

/* Of a layer that was checked; what no cell of the build has is 0. */
static inline uint32_t vg_fields(const vg_layer *l)
{
    return VG_HAS_FIELDS
               ? l->fields
               : l->fields & (VG_OUTPUT_GATE | VG_FORGET_GATE | VG_RECURRENT);
}

/* Cells that share their gates. */
static inline uint32_t vg_block_of(const vg_layer *l)
{
    return VG_HAS_BLOCKS ? l->block : 1;
}

static inline uint32_t vg_blocks(const vg_layer *l)
{
    return l->n / vg_block_of(l);
}

/* Does a matrix of it read h? */
static inline int vg_is_recurrent(const vg_layer *l)
{
    return !VG_HAS_FIELDS || l->fields & VG_RECURRENT;
}

/* Is a layer of the LSTM family, peepholes apart, like most?  It has all gates,
 * for each cell its own, and tanh twice. */
static inline int vg_is_plain_lstm(const vg_layer *l)
{
    return (VG_IS_LSTM ||
            l->fields == (VG_OUTPUT_GATE | VG_FORGET_GATE | VG_RECURRENT)) &&
           vg_block_of(l) == 1;
}

/* ---- walk.c --------------------------------------------------------- */

static inline uint32_t get16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t get32(const uint8_t *p)
{
    return get16(p) | get16(p + 2) << 16;
}

/* A walk over a blob: at is the next record's offset, end that of the CRC. */
typedef struct {
    const uint8_t *blob;
    uint32_t at;
    uint32_t end;
    uint32_t n_in;    /* what the next layer reads */
    uint32_t n_half;  /* cells of the forward half before it; 0: none */
    uint8_t half_exp; /* its h_exp */
    uint8_t bits;
    uint8_t group; /* of every map */
} vg_walk;

/* Step over count items of size bytes and the padding after them, which must
 * be zero; *at gets their place.  count < 2^37 and size <= 4, so that nothing
 * overflows 64 bits.  VG_E_SIZE, _FORMAT. */
int vg_walk_skip(vg_walk *w, uint64_t count, uint32_t size, uint32_t *at);

vg_walk vg_walk_start(const vg_model *m);
int vg_walk_layer(vg_walk *w, vg_layer *l);
int vg_walk_readout(vg_walk *w, const vg_model *m, vg_readout *r);

static inline int vg_has_readout(const vg_model *m)
{
    return VG_HAS_OUTPUTS && m->blob[VG_AT_FLAGS] & VG_HAS_READOUT;
}

/* ---- blob.c --------------------------------------------------------- */

uint32_t vg_blob_crc(const vg_model *m);

/* One layer's state in bytes: c, then r, then zeros up to a multiple of 4. */
uint32_t vg_image_size(const vg_layer *l); /* < 2^20 */
int vg_image_ok(const vg_layer *l, const uint8_t *image);

/* As zlib's. */
uint32_t vg_crc32(const uint8_t *p, uint32_t n);

/* ---- layer.c -------------------------------------------------------- */

/* to[n] = from[n], apart. */
void vg_copy(vg_sig *to, const vg_sig *from, uint32_t n);

/* The model's x at one step: x[n_in], or where x is null the one-hot x of a
 * symbol, whose 1.0 is the raw number one. */
typedef struct {
    const vg_sig *x;
    uint32_t symbol;
    int32_t one;
} vg_input;

/* logits and y from h of the last layer and the model's x, with a readout or
 * without. */
void vg_readout_step(vg_run *r, const vg_sig *h, const vg_input *x, vg_sig *y);

/* One step of a layer whose x is already in its z, or, symbol given, is that
 * one-hot x.  Leaves the gates' values in vg_run_values. */
void vg_layer_step(vg_run *r, const vg_layer *l, const vg_input *symbol);

/* ---- words.c -------------------------------------------------------- */

enum { VG_BLOCK = 512 /* columns: |w z| of int8 weights sums up to < 2^31 */ };

/* z of a map in words, widened: n columns, a multiple of 4, from `from` on, in
 * blocks of VG_BLOCK columns, each behind its sum.  Where a kernel of 16 bits
 * asks for it, 2^15 times the sum of each two columns is behind them. */
typedef struct {
    uint32_t from;
    uint32_t n;
    int32_t z[];
} vg_wide;

/* Bytes for what a map of so many columns reads, in up to two vectors. */
static inline uint32_t vg_wide_size(uint32_t columns, uint32_t bits)
{
    columns += 6;
    columns += bits == 16 ? columns / 2 + 1 : 0;
    return 4 * (columns + columns / VG_BLOCK + 2) +
           2 * (uint32_t)sizeof(vg_wide);
}

/* What layer.c does with rows: the arguments of a gate and those together with
 * it, x null but for a symbol, or, l null, the logits from h and the model's x.
 * Returns the clamps that count. */
uint32_t vg_words_map(const vg_run *r, const vg_layer *l, const vg_map *m,
                      const vg_input *x, const vg_sig *h, vg_sig *a);

/* The arguments of gates n and m of a gru. */
void vg_words_reset(const vg_run *r, const vg_layer *l, const vg_map *n,
                    const vg_input *symbol, vg_sig *a);

/* ---- run.c: a run's places, vg_readout and vg_layer[n_layers], and what lies
 * in its arena ---------------------------------------------------------- */

static inline const vg_readout *vg_run_readout(const vg_run *r)
{
    return (const vg_readout *)(const void *)r->places;
}

static inline const vg_layer *vg_run_layers(const vg_run *r)
{
    return (const vg_layer *)(const void *)(vg_run_readout(r) + 1);
}

static inline int32_t *vg_run_c(const vg_run *r, const vg_layer *l)
{
    return (int32_t *)(void *)(r->arena + l->c / 4);
}

static inline vg_sig *vg_run_signals(const vg_run *r, uint32_t at)
{
    return (vg_sig *)(void *)(r->arena + at / 4);
}

/* Room for vg_wide, behind the logits; only where the layout is words. */
static inline vg_wide *vg_run_wide(const vg_run *r)
{
    return (vg_wide *)(void *)(r->arena + (vg_run_readout(r)->logits +
                                           2 * (size_t)r->model->n_out + 3) /
                                              4);
}

/* r = [h; i; o], the recurrent vector. */
static inline vg_sig *vg_run_r(const vg_run *r, const vg_layer *l)
{
    return vg_run_signals(r, l->z) + l->n_in;
}

/* How many more int16 values lie behind the gates' ones: s, or y. */
static inline uint32_t vg_n_extra(const vg_layer *l)
{
    return vg_is_cell(l, VG_GRU_RESET_BEFORE) || vg_gives_y(l) ? l->n : 0;
}

/* Where in these values the readout may have its [h; x]: behind y. */
static inline uint32_t vg_readout_at(const vg_layer *top)
{
    return vg_gives_y(top) ? (top->rows + top->n + 1u) & ~(uint32_t)1 : 0;
}

/* The gates' values of the layer that took its step last, s or y behind them.
 */
static inline vg_sig *vg_run_values(const vg_run *r)
{
    return vg_run_signals(r, vg_run_readout(r)->a);
}

/* What a layer gives to the one above, or to the readout, after its step. */
static inline const vg_sig *vg_run_out(const vg_run *r, const vg_layer *l)
{
    return vg_gives_y(l) ? vg_run_values(r) + l->rows : vg_run_r(r, l);
}

/* The layers' state to p, or from it; vg_image_size bytes each. */
void vg_run_store(const vg_run *r, uint8_t *p);
void vg_run_load(const vg_run *r, const uint8_t *p);

#endif
