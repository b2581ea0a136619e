/* gradient.c - what both methods need of a gate's weights: its rates, its
 * gradient, and its transpose.
 */
#include "train.h"

int32_t vg_rate_of(const vg_train *t, const vg_gate *g, uint32_t part)
{
    const int32_t factor = vg_ints(t, g->factors)[part];

    if (factor <= 0 || (g->layer < 32 && (t->learn.frozen >> g->layer & 1)))
        return 0;
    return fx_sat31(fx_rs((int64_t)t->learn.rate_q24 * factor, 16));
}

void vg_add(vg_train *t, int32_t *g, int64_t d)
{
    const int64_t sum = *g + d;

    *g = fx_sat31(sum);
    t->saturated += *g != sum;
}

void vg_gather(vg_train *t, const vg_gate *g, uint32_t row, int32_t d,
               const vg_sig *z, uint32_t symbol)
{
    int32_t *into = vg_ints(t, g->g) + row * g->columns;

    if (!d)
        return;
    for (const vg_span *s = g->span; s < g->span + g->n_spans; s++) {
        if (!vg_rate_of(t, g, s->part))
            continue;
        if (s->symbols)
            vg_add(t, &into[vg_span_begin(g, s) + symbol], d);
        else
            for (uint32_t j = vg_span_begin(g, s); j < s->end; j++)
                vg_add(t, &into[j], fx_round((int64_t)d * z[j], s->exp));
    }
    if (g->biases && vg_rate_of(t, g, VG_BIAS))
        vg_add(t, &vg_biases_of(t, g, g->g)[row], d);
}

void vg_transposed(const vg_train *t, const vg_gate *g, uint32_t n_gates,
                   uint32_t begin, uint32_t end, int32_t *dr)
{
    for (uint32_t j = begin; j < end; j++) {
        int64_t sum = 0;
        for (uint32_t k = 0; k < n_gates; k++) {
            const vg_span *s = g[k].span;
            const vg_sig *w = vg_sigs(t, g[k].weights) + j;
            const int32_t *errors = vg_ints(t, g[k].errors);
            int64_t dot = 0;
            while (j >= s->end)
                s++;
            for (uint32_t row = 0; row < g[k].rows; row++, w += g[k].stride)
                dot += (int64_t)*w * errors[row];
            sum += fx_to31(dot, vg_exp_of(t, &g[k]) - s->exp);
        }
        dr[j] = fx_sat31(sum);
    }
}

void vg_note(const vg_train *t, uint32_t list, uint32_t mark, uint32_t *n,
             uint32_t symbol)
{
    uint16_t *marks = vg_indices(t, mark);

    if (marks[symbol])
        return;
    vg_indices(t, list)[(*n)++] = (uint16_t)symbol;
    marks[symbol] = (uint16_t)*n;
}

void vg_forget(const vg_train *t, uint32_t list, uint32_t mark, uint32_t *n)
{
    for (uint32_t k = 0; k < *n; k++)
        vg_indices(t, mark)[vg_indices(t, list)[k]] = 0;
    *n = 0;
}
