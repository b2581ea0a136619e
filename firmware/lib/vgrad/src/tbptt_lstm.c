/* tbptt_lstm.c - one step back through an LSTM without peepholes whose blocks
 * are cells, off the tape and onto it: what jac_lstm.c says, unit by unit.
 */
#include "lut.h"
#include "train.h"

#if VG_LEARNS_FAST && defined(__AVX2__) && !defined(VG_PORTABLE) &&            \
    !defined(VG_SMALL_TABLES)
#include "lstm_back_avx2.h"

void vg_tbptt_lstm(vg_train *t, const vg_layer *l, const vg_net *net,
                   const vg_back *b)
{
    const vg_gate *gate = vg_gates_of(t) + net->first;
    lstm_back s;

    for (int k = 0; k < 4; k++, gate++) {
        s.values[k] = vg_sigs(t, gate->gates_tape) + b->at;
        s.errors[k] = vg_ints(t, gate->errors);
        s.tape[k] = vg_ints(t, gate->errors_tape) + b->at;
    }
    s.c0 = vg_ints(t, net->c_tape) + b->at;
    s.c1 = vg_c_after(t, l, net, b, &s.c1_apart);
    s.above = b->above;
    s.dr = vg_ints(t, net->dr);
    s.dc = vg_ints(t, net->dc);
    s.apart = t->learn.k2;
    s.above_apart = b->apart;
    lstm_back_avx2(&s, l->n);
}
#else

enum { ONE_Q28 = 1 << 28 };

/* From h to c and to the argument of o. */
static VG_WITHIN void h_back(vg_train *t, const vg_layer *l, const vg_net *net,
                             const vg_back *b)
{
    const vg_gate *gate = vg_gate_of(t, net, 'o');
    const uint32_t k2 = t->learn.k2, above_step = b->apart;
    const struct lut_seg *zero = LUT_TANH;
    const vg_sig *o_tape = vg_sigs(t, gate->gates_tape) + b->at;
    uint32_t c1_step;
    const int32_t *c1 = vg_c_after(t, l, net, b, &c1_step);
    int32_t *above = b->above, *dr = vg_ints(t, net->dr);
    int32_t *dc = vg_ints(t, net->dc), *errors = vg_ints(t, gate->errors);
    int32_t *tape = vg_ints(t, gate->errors_tape) + b->at;

    for (const int32_t *end = dc + l->n; dc < end; dc++) {
        const int32_t o = *o_tape, dh = fx_plus31(*above, *dr);
        const int32_t x = fx_floor32(fx_floor32(*c1, 7) + 1, 1);
        const int32_t y = lut_tanh_at(zero, fx_narrow32(x));
        const int32_t slope = ONE_Q28 - y * y;
        const int32_t d = fx_times24(dh, fx_times18(vg_logistic_q28(o), y));
        *above = *dr++ = 0;
        *dc = fx_plus31(*dc, fx_times24(dh, fx_times18(slope, o)));
        if (!slope) /* as wherever c is clamped */
            *dc = vg_inward(*dc, *c1, -((int32_t)1 << 30), (int32_t)1 << 30);
        *errors++ = *tape = d;
        above += above_step;
        o_tape += k2;
        c1 += c1_step;
        tape += k2;
    }
}

/* From c to the arguments of i, f and g, and to c of the step before. */
static VG_WITHIN void c_back(vg_train *t, const vg_layer *l, const vg_net *net,
                             const vg_back *b)
{
    const vg_gate *gate = vg_gates_of(t) + net->first;
    const uint32_t k2 = t->learn.k2;
    const uint32_t f = vg_errors_apart(gate, 1), g = vg_errors_apart(gate, 3);
    const uint32_t f_at = vg_values_apart(gate, 1);
    const uint32_t g_at = vg_values_apart(gate, 3);
    const vg_sig *values = vg_sigs(t, gate->gates_tape) + b->at;
    const int32_t *c0 = vg_ints(t, net->c_tape) + b->at;
    int32_t *dc = vg_ints(t, net->dc), *errors = vg_ints(t, gate->errors);
    int32_t *tape = vg_ints(t, gate->errors_tape) + b->at;

    for (const int32_t *end = dc + l->n; dc < end; dc++) {
        const int32_t d = *dc, i = values[0];
        const int32_t forget = values[f_at], cell = values[g_at];
        errors[0] = tape[0] =
            fx_times24(d, fx_times18(vg_logistic_q28(i), cell));
        errors[f] = tape[f] =
            fx_times24_31(d, fx_times24_31(vg_logistic_q28(forget), *c0));
        errors[g] = tape[g] =
            fx_times24(d, fx_times18(ONE_Q28 - cell * cell, i));
        *dc = fx_times14(d, forget);
        errors++;
        values += k2;
        c0 += k2;
        tape += k2;
    }
}

void vg_tbptt_lstm(vg_train *t, const vg_layer *l, const vg_net *net,
                   const vg_back *b)
{
    h_back(t, l, net, b);
    c_back(t, l, net, b);
}
#endif
