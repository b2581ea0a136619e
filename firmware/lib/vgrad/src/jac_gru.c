/* jac_gru.c - derivatives of GRU and its kin, and one step back: Cho et al.
 * 2014, Collins et al. 2017.  c is h in full width.
 */
#include <string.h>

#include "train.h"

enum { ONE_Q28 = 1 << 28 };

/* ---- derivatives ------------------------------------------------------ */

/* Of c by the arguments of z and n. */
static void c_derive(vg_train *t, const vg_layer *l, const vg_net *net,
                     const vg_left *left, const vg_sig *n)
{
    int32_t *by_z = vg_ints(t, vg_gate_of(t, net, 'z')->derivatives);
    int32_t *by_n = vg_ints(t, vg_gate_of(t, net, 'n')->derivatives);

    for (uint32_t u = 0; u < l->n; u++) {
        const int32_t z = left->values[u];
        by_z[u] =
            fx_times24_31(vg_logistic_q28(z), fx_minus(left->c0[u], 64 * n[u]));
        by_n[u] = fx_times18(ONE_Q28 - n[u] * n[u], VG_ONE - z);
    }
}

/* Of c by the arguments of m and r. */
static void reset_after_derive(vg_train *t, const vg_layer *l,
                               const vg_net *net, const vg_left *left)
{
    const int32_t *by_n = vg_ints(t, vg_gate_of(t, net, 'n')->derivatives);
    int32_t *by_m = vg_ints(t, vg_gate_of(t, net, 'm')->derivatives);
    int32_t *by_r = vg_ints(t, vg_gate_of(t, net, 'r')->derivatives);
    const vg_sig *r = left->values + l->n, *m = r + 2 * (uint32_t)l->n;

    for (uint32_t u = 0; u < l->n; u++) {
        const int32_t by = fx_times(vg_logistic_q28(r[u]), m[u], 15);
        by_m[u] = fx_times14(by_n[u], r[u]);
        by_r[u] = fx_times24_31(by_n[u], by);
    }
}

/* Of s by the argument of r. */
static void reset_before_derive(vg_train *t, const vg_layer *l,
                                const vg_net *net, const vg_left *left)
{
    int32_t *by_r = vg_ints(t, vg_gate_of(t, net, 'r')->derivatives);
    const vg_sig *r = left->values + l->n;

    for (uint32_t u = 0; u < l->n; u++)
        by_r[u] = fx_times(vg_logistic_q28(r[u]), left->h0[u], 18);
}

/* Of y by the arguments of its gate g, of p and of u. */
static void y_derive(vg_train *t, const vg_layer *l, const vg_net *net,
                     const vg_left *left)
{
    int32_t *by_y = vg_ints(t, vg_gate_of(t, net, 'y')->derivatives);
    int32_t *by_p = vg_ints(t, vg_gate_of(t, net, 'p')->derivatives);
    int32_t *by_u = vg_ints(t, vg_gate_of(t, net, 'u')->derivatives);
    const uint32_t n = l->n;
    const vg_sig *g = left->values + 2 * n, *p = g + n, *u = p + n;

    for (uint32_t k = 0; k < n; k++) {
        by_y[k] = fx_times31(vg_logistic_q28(g[k]), u[k] - p[k], 4 + l->h_exp);
        by_p[k] = p[k] > 0 ? (VG_ONE - g[k]) * 1024 : 0;
        by_u[k] = g[k] * 1024;
    }
}

void vg_gru_derive(vg_train *t, const vg_layer *l, const vg_net *net,
                   const vg_left *left)
{
    const uint32_t n = l->n;

    switch (l->cell) {
    case VG_GRU:
        c_derive(t, l, net, left, left->values + 2 * n);
        reset_after_derive(t, l, net, left);
        break;
    case VG_GRU_RESET_BEFORE:
        c_derive(t, l, net, left, left->values + 2 * n);
        reset_before_derive(t, l, net, left);
        break;
    case VG_PLUS_RNN:
        y_derive(t, l, net, left);
        c_derive(t, l, net, left, left->values + n);
        break;
    default: /* ugrnn */
        c_derive(t, l, net, left, left->values + n);
    }
}

/* ---- one step back ---------------------------------------------------- */

/* Through n's columns s to r, and by s = r h to h, whose part dr gets. */
static void s_back(vg_train *t, const vg_layer *l, const vg_net *net,
                   const vg_sig *r)
{
    int32_t *dr = vg_ints(t, net->dr);

    vg_transposed(t, vg_gate_of(t, net, 'n'), 1, VG_READS_S, l->n, dr);
    vg_gate_back(t, l, vg_gate_of(t, net, 'r'), dr, NULL);
    for (uint32_t u = 0; u < l->n; u++)
        dr[u] = fx_times31(dr[u], r[u], 14);
}

/* From dy; p and u on their limits pass nothing outward. */
static void y_back(vg_train *t, const vg_layer *l, const vg_net *net,
                   const vg_left *left)
{
    const vg_gate *of_p = vg_gate_of(t, net, 'p'), *of_u = of_p + 1;
    const int32_t *dy = vg_ints(t, net->dy);
    const uint32_t n = l->n;
    const vg_sig *p = left->values + 3 * n, *u = p + n;
    int32_t *d;

    vg_gate_back(t, l, vg_gate_of(t, net, 'y'), dy, NULL);
    vg_gate_back(t, l, of_p, dy, NULL);
    vg_gate_back(t, l, of_u, dy, NULL);
    d = vg_ints(t, of_p->errors);
    for (uint32_t k = 0; k < n; k++)
        d[k] = vg_inward(d[k], p[k], INT32_MIN, INT16_MAX);
    d = vg_ints(t, of_u->errors);
    for (uint32_t k = 0; k < n; k++)
        d[k] = vg_inward(d[k], u[k], INT16_MIN, INT16_MAX);
}

void vg_gru_back(vg_train *t, const vg_layer *l, const vg_net *net,
                 const vg_left *left)
{
    const vg_gate *g = vg_gates_of(t) + net->first;
    const int32_t *dh = vg_ints(t, net->dh);
    int32_t *dc = vg_ints(t, net->dc);

    for (uint32_t u = 0; u < l->n; u++) {
        dc[u] = fx_plus31(dc[u], dh[u]);
        dc[u] = vg_inward(dc[u], left->c1[u], -((int32_t)1 << 30),
                          (int32_t)1 << 30);
    }
    if (t->learn.method != VG_TBPTT)
        return; /* every argument has a trace */
    for (const vg_gate *end = g + l->n_gates; g < end; g++)
        if (g->letter == 'z' || g->letter == 'n')
            vg_gate_back(t, l, g, dc, NULL);
    memset(vg_ints(t, net->dr), 0, 4 * (size_t)l->n);
    if (vg_is_cell(l, VG_GRU_RESET_BEFORE))
        s_back(t, l, net, left->values + l->n);
    if (vg_is_cell(l, VG_PLUS_RNN))
        y_back(t, l, net, left);
}
