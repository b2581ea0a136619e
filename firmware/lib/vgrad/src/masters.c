/* masters.c - weights in training: 32-bit masters whose exponents fall to make
 * room for those that grow.
 */
#include "train.h"

static int exceeds(const vg_train *t, const vg_gate *g, int32_t hi,
                   int32_t bias)
{
    const vg_sig *w = vg_sigs(t, g->weights);
    const uint32_t n = g->rows * vg_gate_stride(g);

    for (uint32_t k = 0; k < n; k++)
        if (w[k] >= hi || w[k] <= -hi)
            return 1;
    for (uint32_t row = 0; g->biases && row < g->rows; row++) {
        const int32_t b = vg_ints(t, g->biases)[row];
        if (b >= bias || b <= -bias)
            return 1;
    }
    return 0;
}

static void halve(int32_t *x, uint32_t n)
{
    for (uint32_t k = 0; k < n; k++)
        x[k] = (int32_t)fx_rs(x[k], 1);
}

static void fall(vg_train *t, const vg_gate *g)
{
    vg_sig *hi = vg_sigs(t, g->weights);
    int16_t *lo = vg_sigs(t, g->lo);
    const uint32_t n = g->rows * vg_gate_stride(g);

    (*(uint8_t *)vg_at(t, g->exp))--;
    for (uint32_t k = 0; k < n; k++)
        vg_set_master((int32_t)fx_rs(vg_master_of(hi[k], lo[k]), 1), &hi[k],
                      &lo[k]);
    if (g->biases)
        halve(vg_ints(t, g->biases), g->rows);
    if (VG_HAS_RULE(VG_MOMENTUM) && t->learn.rule == VG_MOMENTUM)
        halve(vg_ints(t, g->v), g->rows * vg_in_row(g));
}

VG_ONCE uint32_t vg_fall(vg_train *t, vg_gate *g, uint32_t n, int32_t hi,
                         int32_t bias, uint32_t most)
{
    uint32_t falls = 0;

    for (; falls < most && vg_exp_of(t, g) > g->arg_exp + 1; falls++) {
        int full = 0;
        for (uint32_t k = 0; k < n; k++)
            full |= exceeds(t, &g[k], hi, bias);
        if (!full)
            break;
        for (uint32_t k = 0; k < n; k++)
            fall(t, &g[k]);
    }
    return falls;
}
