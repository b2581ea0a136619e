#include "protocol.h"

#include <string.h>

#include "board.h"
#include "stack.h"

#ifdef VG_MODEL_HEADER /* a model in flash: pyvgrad export --header */
#include VG_MODEL_HEADER
static const void *const flash_blob = vg_model_blob;
enum { FLASH_SIZE = VG_MODEL_BLOB_SIZE };
#else
static const void *const flash_blob = 0;
enum { FLASH_SIZE = 0 };
#endif

static uint32_t align4(uint32_t size)
{
    return (size + 3u) & ~3u;
}

static uint32_t max(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

void protocol_init(struct protocol *p, void *pool, uint32_t size, uint32_t line,
                   void (*write)(const char *text, uint32_t len))
{
    memset(p, 0, sizeof *p);
    p->pool = pool;
    p->pool_size = size & ~3u;
    p->line_size = line;
    p->answer.write = write;
}

void protocol_refuse(struct protocol *p, int reason)
{
    static const char *const text[] = {
        "ok",       "damaged", "long",  "form",  "verb",
        "argument", "memory",  "model", "board",
    };

    answer_begin(&p->answer, p->id);
    answer_text(&p->answer, "error");
    if (reason < 0) {
        answer_number(&p->answer, "core -", (uint32_t)-reason);
        answer_text(&p->answer, vg_err_text(reason));
    } else {
        answer_text(&p->answer, text[reason]);
    }
    answer_end(&p->answer);
}

/* Begin the answer to a request that succeeded. */
static struct answer *ok(struct protocol *p)
{
    answer_begin(&p->answer, p->id);
    answer_text(&p->answer, "ok");
    return &p->answer;
}

/* ---- verbs: each returns a reason, or has begun an answer ---------------- */

static int hello(struct protocol *p, const char *arg)
{
    struct answer *a = ok(p);

    (void)arg;
    answer_text(a, "pyvgrad");
    answer_number(a, "protocol=", PROTOCOL_VERSION);
    answer_number(a, "library=", VG_VERSION);
    answer_number(a, "blob=", VG_BLOB_VERSION);
    answer_number(a, "ram=", p->pool_size);
    answer_number(a, "line=", p->line_size);
    answer_number(a, "ahead=", board.ahead);
    answer_number(a, "flash=", FLASH_SIZE);
    answer_text(a, board.core);
    return MESSAGE_OK;
}

static int load(struct protocol *p, const char *arg)
{
    uint32_t size;

    if (!take_number(&arg, &size) || *arg)
        return MESSAGE_ARGUMENT;
    if (size > p->pool_size)
        return MESSAGE_MEMORY;
    p->is_open = 0;
    p->blob_size = size;
    (void)ok(p);
    return MESSAGE_OK;
}

static int blob(struct protocol *p, const char *arg)
{
    uint32_t at;

    if (!take_number(&arg, &at) || at > p->blob_size ||
        !take_bytes(arg, p->pool + at, p->blob_size - at))
        return MESSAGE_ARGUMENT;
    (void)ok(p);
    return MESSAGE_OK;
}

/* Open a blob, with its arena and the values of a step in the pool from used
 * on. */
static int open_model(struct protocol *p, const void *at, uint32_t size,
                      uint32_t used)
{
    uint32_t arena, values, left = p->pool_size - used;
    struct answer *a;
    int err;

    err = vg_model_open(&p->model, at, size);
    if (err)
        return err;
    p->is_open = 0;   /* until there is an arena */
    p->blob_size = 0; /* no more bytes go there */
    arena = align4((uint32_t)vg_run_size(&p->model));
    values = max(2u * ((uint32_t)p->model.n_in + p->model.n_out),
                 max(6u * (uint32_t)p->model.n_in, p->model.state_size));
    if (arena > left || values > left - arena)
        return MESSAGE_MEMORY;
    err = vg_run_init(&p->run, &p->model, p->pool + used, arena);
    if (err)
        return err;
    p->values = p->pool + used + arena;
    p->is_open = 1;
    a = ok(p);
    answer_number(a, "n_in=", p->model.n_in);
    answer_number(a, "n_out=", p->model.n_out);
    answer_number(a, "state=", p->model.state_size);
    answer_number(a, "arena=", (uint32_t)vg_run_size(&p->model));
    return MESSAGE_OK;
}

static int open_ram(struct protocol *p, const char *arg)
{
    (void)arg;
    return open_model(p, p->pool, p->blob_size, align4(p->blob_size));
}

static int open_flash(struct protocol *p, const char *arg)
{
    (void)arg;
    if (!flash_blob)
        return MESSAGE_BOARD;
    return open_model(p, flash_blob, FLASH_SIZE, 0);
}

static int reset(struct protocol *p, const char *arg)
{
    (void)arg;
    vg_run_reset(&p->run);
    (void)ok(p);
    return MESSAGE_OK;
}

static int step(struct protocol *p, const char *arg)
{
    vg_sig *x = (vg_sig *)(void *)p->values;
    vg_sig *y = x + p->model.n_in;
    struct answer *a;

    if (!take_signals(arg, x, p->model.n_in))
        return MESSAGE_ARGUMENT;
    vg_run_step(&p->run, x, y);
    a = ok(p);
    answer_signals(a, y, p->model.n_out);
    answer_signals(a, vg_run_logits(&p->run), p->model.n_out);
    return MESSAGE_OK;
}

static void answer_state(struct protocol *p)
{
    int32_t len = vg_run_save(&p->run, p->values, p->model.state_size);

    answer_bytes(&p->answer, p->values, len > 0 ? (uint32_t)len : 0);
}

static int trace(struct protocol *p, const char *arg)
{
    int reason = step(p, arg);

    if (reason == MESSAGE_OK)
        answer_state(p);
    return reason;
}

static int save(struct protocol *p, const char *arg)
{
    (void)arg;
    (void)ok(p);
    answer_state(p);
    return MESSAGE_OK;
}

/* Only what came whole and in order is ever restored. */
static int state(struct protocol *p, const char *arg)
{
    uint32_t at, len;

    if (!take_number(&arg, &at) || (at != 0 && at != p->state_len))
        return MESSAGE_ARGUMENT;
    len = take_bytes(arg, p->values + at, p->model.state_size - at);
    if (len == 0)
        return MESSAGE_ARGUMENT;
    p->state_len = at + len;
    (void)ok(p);
    return MESSAGE_OK;
}

static int restore(struct protocol *p, const char *arg)
{
    int err;

    (void)arg;
    if (p->state_len != p->model.state_size)
        return MESSAGE_ARGUMENT;
    err = vg_run_restore(&p->run, p->values, p->state_len);
    if (err)
        return err;
    (void)ok(p);
    return MESSAGE_OK;
}

static int saturated(struct protocol *p, const char *arg)
{
    (void)arg;
    answer_number(ok(p), "", p->run.saturated);
    return MESSAGE_OK;
}

static int scale(struct protocol *p, const char *arg)
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
    a = ok(p);
    answer_signals(a, x, p->model.n_in);
    answer_number(a, "", (uint32_t)clamped);
    return MESSAGE_OK;
}

static int stack(struct protocol *p, const char *arg)
{
    (void)arg;
    if (!board.stack)
        return MESSAGE_BOARD;
    answer_number(ok(p), "", stack_used());
    return MESSAGE_OK;
}

static const struct verb {
    char name[10];
    uint8_t needs_model, has_argument;
    int (*act)(struct protocol *p, const char *arg);
} verbs[] = {
    {"step", 1, 1, step},           {"trace", 1, 1, trace},
    {"reset", 1, 0, reset},         {"save", 1, 0, save},
    {"state", 1, 1, state},         {"restore", 1, 0, restore},
    {"saturated", 1, 0, saturated}, {"scale", 1, 1, scale},
    {"hello", 0, 0, hello},         {"load", 0, 1, load},
    {"blob", 0, 1, blob},           {"open", 0, 0, open_ram},
    {"flash", 0, 0, open_flash},    {"stack", 0, 0, stack},
};

static int act(struct protocol *p, const struct request *r)
{
    uint32_t i;

    for (i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        const struct verb *v = &verbs[i];

        if (strcmp(r->verb, v->name) != 0)
            continue;
        if (v->needs_model && !p->is_open)
            return MESSAGE_MODEL;
        if (v->has_argument != (*r->arg != '\0'))
            return MESSAGE_ARGUMENT;
        if (v->act != state && v->act != restore)
            p->state_len = 0; /* it may write where the pieces lie */
        return v->act(p, r->arg);
    }
    return MESSAGE_VERB;
}

void protocol_line(struct protocol *p, char *line, uint32_t len)
{
    struct request request;
    int reason = request_parse(&request, line, len);

    p->id = request.id;
    if (reason == MESSAGE_OK)
        reason = act(p, &request);
    if (reason == MESSAGE_OK)
        answer_end(&p->answer);
    else
        protocol_refuse(p, reason);
    p->id = 0;
}
