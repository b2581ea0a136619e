/* options.h - what a build leaves out, so that nobody pays for it:
 *
 *     VG_CELLS    bits by vg_cell_code: 16 is lstm alone, 144 lstm and gru
 *     VG_BLOCKS   1 is cells with gates of their own alone, 3 blocks of
 *                 several, too
 *     VG_WEIGHTS  16 is weights of 16 bits alone, 8 of 8, 24 both
 *     VG_LAYOUTS  1 is matrices in rows alone, 2 in words, 3 both
 *     VG_OUTPUTS  bits by vg_output: 1 is a linear readout alone, 2 logistic,
 *                 4 softmax; 0: no readout at all
 *     VG_INPUTS   1 is vectors alone, 3 symbols, too
 *     VG_METHODS  bits by vg_method: 1 is TBPTT alone, 2 RTRL97
 *     VG_RULES    bits by vg_rule: 1 is SGD alone, 2 momentum, 4 RMSprop
 *     VG_CHECKPOINTS  0: a training is neither kept nor gone on from
 *     VG_FAST     bits: 1 is running, 2 learning, by kernels of the machine and
 *                 what is faster where numbers are small; 0: neither (but for
 *                 tables' few instructions, which are small), the same bits
 *
 * as numbers, -DVG_CELLS=16; without them all is there.  A blob with a cell,
 * blocks, weights, a layout or a readout that is left out is refused when it is
 * opened, or when a run of one opened before begins (VG_E_FORMAT); settings
 * with a method, a rule or symbols that are left out when a training begins,
 * and so all of them without weights of 16 bits, and symbols in a call
 * (VG_E_ARG).  Without checkpoints vg_train_checkpoint gives none, and
 * vg_train_init finds none.
 */
#ifndef VG_OPTIONS_H
#define VG_OPTIONS_H

#ifndef VG_CELLS
#define VG_CELLS 0xFFF
#endif
#ifndef VG_BLOCKS
#define VG_BLOCKS 3
#endif
#ifndef VG_WEIGHTS
#define VG_WEIGHTS 24
#endif
#ifndef VG_LAYOUTS
#define VG_LAYOUTS 3
#endif
#ifndef VG_OUTPUTS
#define VG_OUTPUTS 7
#endif
#ifndef VG_INPUTS
#define VG_INPUTS 3
#endif
#ifndef VG_METHODS
#define VG_METHODS 3
#endif
#ifndef VG_RULES
#define VG_RULES 7
#endif
#ifndef VG_CHECKPOINTS
#define VG_CHECKPOINTS 1
#endif
#ifndef VG_FAST
#define VG_FAST 3
#endif

#if (VG_WEIGHTS) != 8 && (VG_WEIGHTS) != 16 && (VG_WEIGHTS) != 24
#error "VG_WEIGHTS is 8, 16 or 24"
#endif
#if (VG_BLOCKS) != 1 && (VG_BLOCKS) != 3
#error "VG_BLOCKS is 1 or 3"
#endif
#if (VG_LAYOUTS) < 1 || (VG_LAYOUTS) > 3
#error "VG_LAYOUTS is 1, 2 or 3"
#endif
#if (VG_INPUTS) != 1 && (VG_INPUTS) != 3
#error "VG_INPUTS is 1 or 3"
#endif

/* Constants where the argument is one: what stands behind a 0 is not linked. */
#define VG_HAS_CELL(code) ((VG_CELLS) >> (code) & 1)
#define VG_HAS_BLOCKS ((VG_BLOCKS) >> 1 & 1)
#define VG_HAS_WEIGHTS(bits) (((VG_WEIGHTS) & (bits)) != 0)
#define VG_BITS(bits)                                                          \
    (!VG_HAS_WEIGHTS(8) ? 16 : VG_HAS_WEIGHTS(16) ? (bits) : 8)
#define VG_HAS_LAYOUT(layout) ((VG_LAYOUTS) >> (layout) & 1)
#define VG_HAS_OUTPUTS ((VG_OUTPUTS) != 0)
#define VG_HAS_OUTPUT(output) ((VG_OUTPUTS) >> (output) & 1)
#define VG_HAS_SYMBOLS ((VG_INPUTS) >> 1 & 1)
#define VG_HAS_METHOD(method) ((VG_METHODS) >> (method) & 1)
#define VG_HAS_RULE(rule) ((VG_RULES) >> (rule) & 1)
#define VG_RUNS_FAST ((VG_FAST) & 1)
#define VG_LEARNS_FAST ((VG_FAST) >> 1 & 1)

/* Is there a rule with moments? */
#define VG_HAS_MOMENTS (((VG_RULES) & 6) != 0)

/* Is lstm the only cell?  Is there one that carries c, or h in full width?  One
 * whose fields are free; with a gate that reads its own cell, or anything but x
 * and r, or not just both, or that waits for others; that gives another vector
 * than h; or with arguments whose clamps count? */
#define VG_IS_LSTM ((VG_CELLS) == 0x010)
#define VG_HAS_C (((VG_CELLS) & 0x078) != 0)
#define VG_HAS_PLAIN_LSTM (((VG_CELLS) & 0x018) != 0)
#define VG_HAS_H (((VG_CELLS) & 0xD80) != 0)
#define VG_HAS_FIELDS (((VG_CELLS) & 0x008) != 0)
#define VG_HAS_OWN (((VG_CELLS) & 0x240) != 0)
#define VG_HAS_PIECES (((VG_CELLS) & 0x340) != 0)
#define VG_HAS_READS (((VG_CELLS) & 0xBC0) != 0)
#define VG_HAS_LATE (((VG_CELLS) & 0x1C0) != 0)
#define VG_HAS_Y (((VG_CELLS) & 0x800) != 0)
#define VG_HAS_CLAMPS (((VG_CELLS) & 0xA84) != 0)

/* Is there an LSTM other than most in its fields or its blocks; a layer that
 * goes back in more than one pass? */
#define VG_HAS_OTHER_LSTM (VG_HAS_BLOCKS || ((VG_CELLS) & 0x028) != 0)
#define VG_HAS_PASSES (VG_HAS_BLOCKS || ((VG_CELLS) & 0xF6F) != 0)

#endif
