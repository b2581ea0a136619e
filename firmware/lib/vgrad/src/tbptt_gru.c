/* tbptt_gru.c - one step back through a GRU (Cho et al. 2014, as in cuDNN), off
 * the tape and onto it: what jac_gru.c says, unit by unit.
 */
#include "train.h"

enum { ONE_Q28 = 1 << 28 };

void vg_tbptt_gru(vg_train *t, const vg_layer *l, const vg_net *net,
                  const vg_back *b)
{
    const vg_gate *gate = vg_gates_of(t) + net->first;
    const uint32_t k2 = t->learn.k2, above_step = b->apart;
    const uint32_t to_r = vg_errors_apart(gate, 1);
    const uint32_t to_n = vg_errors_apart(gate, 2);
    const uint32_t to_m = vg_errors_apart(gate, 3);
    const uint32_t r_at = vg_values_apart(gate, 1);
    const uint32_t n_at = vg_values_apart(gate, 2);
    const uint32_t m_at = vg_values_apart(gate, 3);
    const vg_sig *values = vg_sigs(t, gate->gates_tape) + b->at;
    const int32_t *c0 = vg_ints(t, net->c_tape) + b->at;
    uint32_t c1_step;
    const int32_t *c1 = vg_c_after(t, l, net, b, &c1_step);
    int32_t *above = b->above, *dr = vg_ints(t, net->dr);
    int32_t *dc = vg_ints(t, net->dc), *errors = vg_ints(t, gate->errors);
    int32_t *tape = vg_ints(t, gate->errors_tape) + b->at;

    for (const int32_t *end = dc + l->n; dc < end; dc++) {
        const int32_t z = values[0], r = values[r_at], n = values[n_at];
        const int32_t sum = fx_plus31(*dc, fx_plus31(*above, *dr));
        const int32_t d =
            vg_inward(sum, *c1, -((int32_t)1 << 30), (int32_t)1 << 30);
        const int32_t by_n = fx_times18(ONE_Q28 - n * n, VG_ONE - z);
        const int32_t by_r =
            fx_times(vg_logistic_q28(r), values[m_at], 15); /* of r m */
        *above = *dr++ = 0;
        errors[0] = tape[0] = fx_times24_31(
            d, fx_times24_31(vg_logistic_q28(z), fx_minus(*c0, 64 * n)));
        errors[to_n] = tape[to_n] = fx_times24(d, by_n);
        errors[to_m] = tape[to_m] = fx_times24(d, fx_times14(by_n, r));
        errors[to_r] = tape[to_r] = fx_times24_31(d, fx_times24(by_r, by_n));
        *dc = fx_times14(d, z);
        errors++;
        values += k2;
        c0 += k2;
        c1 += c1_step;
        above += above_step;
        tape += k2;
    }
}
