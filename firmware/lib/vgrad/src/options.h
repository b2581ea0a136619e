/* options.h - what a build leaves out, so that nobody pays for it:
 *
 *     VG_CELLS    bits by vg_cell_code: 16 is lstm alone, 144 lstm and gru
 *     VG_METHODS  bits by vg_method: 1 is TBPTT alone, 2 RTRL97
 *     VG_RULES    bits by vg_rule: 1 is SGD alone, 2 momentum, 4 RMSprop
 *
 * as numbers, -DVG_CELLS=16; without them all is there.  A blob with a cell
 * that is left out is refused when it is opened (VG_E_FORMAT), settings with a
 * method or a rule that is left out when a training begins (VG_E_ARG).
 */
#ifndef VG_OPTIONS_H
#define VG_OPTIONS_H

#ifndef VG_CELLS
#define VG_CELLS 0xFFF
#endif
#ifndef VG_METHODS
#define VG_METHODS 3
#endif
#ifndef VG_RULES
#define VG_RULES 7
#endif

/* Constants where the argument is one: what stands behind a 0 is not linked. */
#define VG_HAS_CELL(code) ((VG_CELLS) >> (code) & 1)
#define VG_HAS_METHOD(method) ((VG_METHODS) >> (method) & 1)
#define VG_HAS_RULE(rule) ((VG_RULES) >> (rule) & 1)

/* Is there a cell that carries c, or h in full width? */
#define VG_HAS_C ((VG_CELLS) & 0x078)
#define VG_HAS_PLAIN_LSTM ((VG_CELLS) & 0x018)
#define VG_HAS_H ((VG_CELLS) & 0xD80)

#endif
