#include "protocol.h"

#include <string.h>

#include "board.h"
#include "learning.h"
#include "running.h"
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
        "ok",       "damaged", "long",  "form",     "verb",
        "argument", "memory",  "model", "training", "board",
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

struct answer *protocol_ok(struct protocol *p)
{
    answer_begin(&p->answer, p->id);
    answer_text(&p->answer, "ok");
    return &p->answer;
}

/* ---- verbs: each returns a reason, or has begun an answer ---------------- */

static int hello(struct protocol *p, const char *arg)
{
    struct answer *a = protocol_ok(p);

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
    p->is_open = p->is_training = 0;
    p->blob_size = size;
    (void)protocol_ok(p);
    return MESSAGE_OK;
}

static int blob(struct protocol *p, const char *arg)
{
    uint32_t at;

    if (!take_number(&arg, &at) || at > p->blob_size ||
        !take_bytes(arg, p->pool + at, p->blob_size - at))
        return MESSAGE_ARGUMENT;
    (void)protocol_ok(p);
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
    p->is_open = p->is_training = 0; /* until there is an arena */
    p->blob_size = 0;                /* no more bytes go there */
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
    a = protocol_ok(p);
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

static int stack(struct protocol *p, const char *arg)
{
    (void)arg;
    if (!board.stack)
        return MESSAGE_BOARD;
    answer_number(protocol_ok(p), "", stack_used());
    return MESSAGE_OK;
}

enum { NOTHING, A_MODEL, A_TRAINING };

static const struct verb {
    char name[11];
    uint8_t needs, has_argument;
    int (*act)(struct protocol *p, const char *arg);
} verbs[] = {
    {"teach", A_TRAINING, 1, learning_teach},
    {"end", A_TRAINING, 0, learning_end},
    {"counters", A_TRAINING, 0, learning_counters},
    {"seal", A_TRAINING, 0, learning_seal},
    {"checkpoint", A_TRAINING, 0, learning_checkpoint},
    {"fetch", A_TRAINING, 1, learning_fetch},
    {"rate", A_TRAINING, 1, learning_rate},
    {"tune", A_TRAINING, 1, learning_tune},
    {"settings", A_TRAINING, 0, learning_settings},
    {"train", NOTHING, 1, learning_train},
    {"resume", NOTHING, 0, learning_resume},
    {"step", A_MODEL, 1, running_step},
    {"trace", A_MODEL, 1, running_trace},
    {"reset", A_MODEL, 0, running_reset},
    {"save", A_MODEL, 0, running_save},
    {"state", A_MODEL, 1, running_state},
    {"restore", A_MODEL, 0, running_restore},
    {"saturated", A_MODEL, 0, running_saturated},
    {"scale", A_MODEL, 1, running_scale},
    {"sequence", A_MODEL, 1, running_sequence},
    {"input", A_MODEL, 1, running_input},
    {"whole", A_MODEL, 0, running_whole},
    {"hello", NOTHING, 0, hello},
    {"load", NOTHING, 1, load},
    {"blob", NOTHING, 1, blob},
    {"open", NOTHING, 0, open_ram},
    {"flash", NOTHING, 0, open_flash},
    {"stack", NOTHING, 0, stack},
};

static int act(struct protocol *p, const struct request *r)
{
    uint32_t i;

    for (i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        const struct verb *v = &verbs[i];

        if (strcmp(r->verb, v->name) != 0)
            continue;
        if (v->needs == A_MODEL && !p->is_open)
            return MESSAGE_MODEL;
        if (v->needs == A_TRAINING && !p->is_training)
            return MESSAGE_TRAINING;
        if (v->has_argument != (*r->arg != '\0'))
            return MESSAGE_ARGUMENT;
        if (v->act != running_state && v->act != running_restore)
            p->state_len = 0; /* it may write where the pieces lie */
        if (v->act != running_input && v->act != running_whole)
            p->steps = 0; /* likewise */
        if (v->act != learning_fetch)
            p->sealed = 0; /* good until the next call on the training */
        return v->act(p, r->arg);
    }
    return MESSAGE_VERB;
}

void protocol_line(struct protocol *p, char *line, uint32_t len)
{
    struct request request;
    int reason = request_parse(&request, line, len);

    p->line = line;
    p->id = request.id;
    if (reason == MESSAGE_OK)
        reason = act(p, &request);
    if (reason == MESSAGE_OK)
        answer_end(&p->answer);
    else
        protocol_refuse(p, reason);
    p->id = 0;
}
