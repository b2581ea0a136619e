#include "running.h"

#include <string.h>

int running_reset(struct protocol *p, const char *arg)
{
    (void)arg;
    vg_run_reset(&p->run);
    (void)protocol_ok(p);
    return MESSAGE_OK;
}

int running_step(struct protocol *p, const char *arg)
{
    vg_sig *x = (vg_sig *)(void *)p->values;
    vg_sig *y = x + p->model.n_in;
    struct answer *a;
    int err;

    if (!take_signals(arg, x, p->model.n_in))
        return MESSAGE_ARGUMENT;
    err = vg_run_step(&p->run, x, y);
    if (err)
        return err;
    a = protocol_ok(p);
    answer_signals(a, y, p->model.n_out);
    answer_signals(a, vg_run_logits(&p->run), p->model.n_out);
    return MESSAGE_OK;
}

static void answer_state(struct protocol *p)
{
    int32_t len = vg_run_save(&p->run, p->values, p->model.state_size);

    answer_bytes(&p->answer, p->values, len > 0 ? (uint32_t)len : 0);
}

int running_trace(struct protocol *p, const char *arg)
{
    int reason = running_step(p, arg);

    if (reason == MESSAGE_OK)
        answer_state(p);
    return reason;
}

int running_save(struct protocol *p, const char *arg)
{
    (void)arg;
    (void)protocol_ok(p);
    answer_state(p);
    return MESSAGE_OK;
}

/* Only what came whole and in order is ever restored. */
int running_state(struct protocol *p, const char *arg)
{
    uint32_t at, len;

    if (!take_number(&arg, &at) || (at != 0 && at != p->state_len))
        return MESSAGE_ARGUMENT;
    len = take_bytes(arg, p->values + at, p->model.state_size - at);
    if (len == 0)
        return MESSAGE_ARGUMENT;
    p->state_len = at + len;
    (void)protocol_ok(p);
    return MESSAGE_OK;
}

int running_restore(struct protocol *p, const char *arg)
{
    int err;

    (void)arg;
    if (p->state_len != p->model.state_size)
        return MESSAGE_ARGUMENT;
    err = vg_run_restore(&p->run, p->values, p->state_len);
    if (err)
        return err;
    (void)protocol_ok(p);
    return MESSAGE_OK;
}

int running_saturated(struct protocol *p, const char *arg)
{
    (void)arg;
    answer_number(protocol_ok(p), "", p->run.saturated);
    return MESSAGE_OK;
}

int running_scale(struct protocol *p, const char *arg)
{
    int32_t *count = (int32_t *)(void *)p->values;
    vg_sig *x = (vg_sig *)(void *)(count + p->model.n_in);
    uint32_t i, raw;
    struct answer *a;
    int clamped;

    for (i = 0; i < p->model.n_in; i++) {
        if (!take_hex(&arg, 8, &raw))
            return MESSAGE_ARGUMENT;
        memcpy(&count[i], &raw, sizeof raw);
    }
    if (*arg)
        return MESSAGE_ARGUMENT;
    clamped = vg_model_scale(&p->model, count, x);
    a = protocol_ok(p);
    answer_signals(a, x, p->model.n_in);
    answer_number(a, "", (uint32_t)clamped);
    return MESSAGE_OK;
}

/* ---- whole sequences ----------------------------------------------------- */

/* Bytes of x of the sequence that comes, and of its y. */
static uint64_t x_size(const struct protocol *p)
{
    return 2 * (uint64_t)p->steps * p->model.n_in;
}

static uint64_t y_size(const struct protocol *p)
{
    const uint32_t rows = p->model.mode == VG_EVERY ? p->steps : 1;

    return 2 * (uint64_t)rows * p->model.n_out;
}

static uint64_t align4(uint64_t size)
{
    return (size + 3) & ~(uint64_t)3;
}

/* x, y and the core's buffer take the place of the values and what is left of
 * the pool behind them. */
int running_sequence(struct protocol *p, const char *arg)
{
    const uint32_t room = (uint32_t)(p->pool + p->pool_size - p->values);
    int32_t buf;

    if (!take_number(&arg, &p->steps) || *arg || !p->steps) {
        p->steps = 0;
        return MESSAGE_ARGUMENT;
    }
    p->input_len = 0;
    buf = vg_run_whole_size(&p->model, p->steps);
    if (buf < 0 ||
        align4(x_size(p)) + align4(y_size(p)) + (uint32_t)buf > room) {
        p->steps = 0;
        return MESSAGE_MEMORY;
    }
    (void)protocol_ok(p);
    return MESSAGE_OK;
}

int running_input(struct protocol *p, const char *arg)
{
    uint32_t at, len;

    if (!take_number(&arg, &at) || !p->steps || at != p->input_len)
        return MESSAGE_ARGUMENT;
    len = take_bytes(arg, p->values + at, (uint32_t)x_size(p) - at);
    if (len == 0)
        return MESSAGE_ARGUMENT;
    p->input_len += len;
    (void)protocol_ok(p);
    return MESSAGE_OK;
}

int running_whole(struct protocol *p, const char *arg)
{
    uint8_t *y, *buf;
    struct answer *a;
    int err;

    (void)arg;
    if (!p->steps || p->input_len != x_size(p))
        return MESSAGE_ARGUMENT;
    y = p->values + align4(x_size(p));
    buf = y + align4(y_size(p));
    err = vg_run_whole(&p->run, (const vg_sig *)(const void *)p->values,
                       p->steps, (vg_sig *)(void *)y, buf,
                       (uint32_t)(p->pool + p->pool_size - buf));
    if (err)
        return err;
    a = protocol_ok(p);
    answer_signals(a, (const vg_sig *)(const void *)y,
                   (uint32_t)y_size(p) / 2u);
    answer_signals(a, vg_run_logits(&p->run), p->model.n_out);
    p->steps = 0;
    return MESSAGE_OK;
}
