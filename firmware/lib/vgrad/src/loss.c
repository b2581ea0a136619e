/* loss.c - the errors of the outputs, and the loss as people read it. */
#include "lut.h"
#include "train.h"

int vg_target_check(const vg_train *t, const vg_sig *target)
{
    if (VG_HAS_OUTPUT(VG_SOFTMAX) && t->model.output == VG_SOFTMAX)
        return *target >= 0 && *target < t->model.n_out ? VG_OK : VG_E_ARG;
    if (VG_HAS_OUTPUT(VG_LOGISTIC) && t->model.output == VG_LOGISTIC)
        for (uint32_t k = 0; k < t->model.n_out; k++)
            if (target[k] < 0 || target[k] > VG_ONE)
                return VG_E_ARG;
    return VG_OK;
}

static int32_t top(int64_t loss)
{
    return loss > INT32_MAX ? INT32_MAX : (int32_t)loss;
}

/* ln(v / 2^16), q16, for v >= 2^16, within 1.5e-4. */
static int64_t log_q16(uint32_t v)
{
    int32_t k = 0, f;
    int64_t c, b;

    while (v >> (k + 16) > 1)
        k++;
    f = (int32_t)(v >> (k + 1)) - 32768;
    c = 14376 - fx_rs((int64_t)f * 7833, 15) + fx_rs((int64_t)f * f * 2691, 30);
    b = f + fx_rs((int64_t)f * (32768 - f) * c, 30);
    return fx_rs(((int64_t)k * 32768 + b) * 45426, 15);
}

/* d = sat31(off 2^(24-e)) of n linear outputs.  Returns the squares' sum. */
static int64_t linear_errors(const vg_sig *y, const vg_sig *target, uint32_t n,
                             int e, int32_t *d)
{
    const int32_t unit = (int32_t)1 << (24 - e), most = INT32_MAX >> (24 - e);
    int64_t sum = 0;

    for (const int32_t *end = d + n; d < end; d++) {
        const int32_t at = *y++, off = at - *target++;
        sum += (uint32_t)off * (uint32_t)off;
        if ((uint32_t)(off + most) <= 2 * (uint32_t)most)
            *d = off * unit;
        else
            *d = off < 0 ? -INT32_MAX : INT32_MAX;
        if (at >= INT16_MAX || at <= INT16_MIN)
            *d = vg_inward(*d, at, INT16_MIN, INT16_MAX);
    }
    return sum;
}

static int64_t logistic_errors(const vg_sig *y, const vg_sig *target,
                               uint32_t n, int32_t *d)
{
    int64_t sum = 0;

    for (uint32_t k = 0; k < n; k++) {
        const int32_t off = y[k] - target[k];
        sum += (uint32_t)off * (uint32_t)off;
        d[k] = fx_times(off, vg_logistic_q28(y[k]), 18);
    }
    return sum;
}

static void mse_step(vg_train *t, const vg_sig *y, const vg_sig *target)
{
    int32_t *d = vg_ints(t, vg_plan_of(t)->d_logits);
    const int e = t->model.y_exp;
    const int64_t sum =
        VG_HAS_OUTPUT(VG_LOGISTIC) && t->model.output == VG_LOGISTIC
            ? logistic_errors(y, target, t->model.n_out, d)
            : linear_errors(y, target, t->model.n_out, e, d);

    if (2 * e < 15)
        t->loss_q16 = sum > INT32_MAX >> (15 - 2 * e)
                          ? INT32_MAX
                          : (int32_t)(sum << (15 - 2 * e));
    else
        t->loss_q16 = top(fx_round(sum, 2 * e - 15));
}

static void softmax_step(vg_train *t, const vg_sig *y, const vg_sig *logits,
                         uint32_t class)
{
    int32_t *d = vg_ints(t, vg_plan_of(t)->d_logits);
    const int e = t->model.logit_exp;
    int32_t best = logits[0];
    uint32_t sum = 0;

    for (uint32_t k = 0; k < t->model.n_out; k++) {
        const int32_t off = y[k] - (k == class ? VG_ONE : 0);
        d[k] = vg_inward(off * 1024, logits[k], INT16_MIN, INT16_MAX);
        if (logits[k] > best)
            best = logits[k];
    }
    for (uint32_t k = 0; k < t->model.n_out; k++)
        sum += lut_exp((uint32_t)(best - logits[k]), e);
    t->loss_q16 =
        top((int64_t)(best - logits[class]) * ((int64_t)1 << (16 - e)) +
            log_q16(sum));
}

static void logistic_step(vg_train *t, const vg_sig *y, const vg_sig *logits,
                          const vg_sig *target)
{
    int32_t *d = vg_ints(t, vg_plan_of(t)->d_logits);
    int64_t loss = 0;

    for (uint32_t k = 0; k < t->model.n_out; k++) {
        const int32_t z = logits[k], size = z < 0 ? -z : z;
        d[k] = (y[k] - target[k]) * 1024;
        loss += fx_rs(
            (int64_t)(z > 0 ? z : 0) * VG_ONE - (int64_t)target[k] * z, 9);
        loss += log_q16(65536u + lut_exp((uint32_t)size, 11));
    }
    t->loss_q16 = top(loss);
}

void vg_loss_step(vg_train *t, const vg_sig *y, const vg_sig *target)
{
    const vg_sig *logits = vg_run_logits(&t->run);

    if (t->learn.loss == VG_MSE)
        mse_step(t, y, target);
    else if (VG_HAS_OUTPUT(VG_SOFTMAX) && t->model.output == VG_SOFTMAX)
        softmax_step(t, y, logits, (uint32_t)*target);
    else if (VG_HAS_OUTPUT(VG_LOGISTIC))
        logistic_step(t, y, logits, target);
}
