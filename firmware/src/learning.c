#include "learning.h"

#include <string.h>

enum { BLOB_WEIGHT_BITS = 16 }; /* where a blob says 16 or 8 (BLOB.md) */

/* The bytes of vg_learn lie in memory as they are sent: little-endian, and
 * without padding. */
static int take_settings(const char *arg, vg_learn *learn)
{
    return strlen(arg) == 2 * sizeof *learn &&
           take_bytes(arg, (uint8_t *)learn, sizeof *learn) != 0;
}

/* Signals of a step's x and of its target. */
static uint32_t x_len(const vg_train *t)
{
    return t->learn.flags & VG_SYMBOLS ? 1u : t->model.n_in;
}

static uint32_t target_len(const vg_train *t)
{
    return t->model.output == VG_SOFTMAX ? 1u : t->model.n_out;
}

/* Train the blob that was sent, where it lies; one of 8 bits is widened into an
 * arena behind it. */
static int begin(struct protocol *p, const vg_learn *learn)
{
    vg_model model;
    struct answer *a;
    uint32_t used = 0;
    int32_t arena;
    int err = vg_model_open(&model, p->pool, p->blob_size);

    if (err)
        return err;
    arena = vg_train_size(&model, learn);
    if (arena < 0)
        return (int)arena;
    if (p->pool[BLOB_WEIGHT_BITS] == 8)
        used = (p->blob_size + 3u) & ~3u;
    if (used > p->pool_size || (uint32_t)arena > p->pool_size - used)
        return MESSAGE_MEMORY;
    err = vg_train_init(&p->train, &model, learn, p->pool + used,
                        (uint32_t)arena);
    if (err)
        return err;
    p->is_open = 0;
    p->is_training = 1;
    p->blob_size = 0; /* no more bytes go there */
    a = protocol_ok(p);
    answer_number(a, "n_in=", p->train.model.n_in);
    answer_number(a, "n_out=", p->train.model.n_out);
    answer_number(a, "output=", p->train.model.output);
    answer_number(a, "arena=", (uint32_t)arena);
    return MESSAGE_OK;
}

int learning_train(struct protocol *p, const char *arg)
{
    vg_learn learn;

    return take_settings(arg, &learn) ? begin(p, &learn) : MESSAGE_ARGUMENT;
}

int learning_resume(struct protocol *p, const char *arg)
{
    (void)arg;
    return begin(p, 0);
}

int learning_settings(struct protocol *p, const char *arg)
{
    (void)arg;
    answer_bytes(protocol_ok(p), (const uint8_t *)&p->train.learn,
                 sizeof p->train.learn);
    return MESSAGE_OK;
}

int learning_tune(struct protocol *p, const char *arg)
{
    vg_learn learn;
    int err;

    if (!take_settings(arg, &learn))
        return MESSAGE_ARGUMENT;
    err = vg_train_tune(&p->train, &learn);
    if (err)
        return err;
    (void)protocol_ok(p);
    return MESSAGE_OK;
}

int learning_rate(struct protocol *p, const char *arg)
{
    uint32_t layer, gate, part, factor;
    int err;

    if (!take_number(&arg, &layer) || !take_number(&arg, &gate) ||
        !take_number(&arg, &part) || !take_number(&arg, &factor) || *arg ||
        factor > INT32_MAX)
        return MESSAGE_ARGUMENT;
    err = vg_train_rate(&p->train, layer, gate, part, (int32_t)factor);
    if (err)
        return err;
    (void)protocol_ok(p);
    return MESSAGE_OK;
}

/* Turn n digits, 0 or 1, into bytes of these values; 0 if they are not. */
static int take_flags(char *text, uint32_t n)
{
    uint32_t i;

    for (i = 0; i < n; i++) {
        if (text[i] != '0' && text[i] != '1')
            return 0;
        text[i] = (char)(text[i] - '0');
    }
    return text[n] == '\0';
}

/* Cut a field off, at the next space; null if there is none. */
static char *next_field(char **rest)
{
    char *field = *rest, *space;

    if (field) {
        space = strchr(field, ' ');
        if (space)
            *space++ = '\0';
        *rest = space;
    }
    return field;
}

/* Everything is understood and in range before the first step is taken: the
 * core checks the ranges, and takes all steps or none. */
int learning_teach(struct protocol *p, const char *arg)
{
    vg_train *t = &p->train;
    char *rest = p->line + (arg - p->line);
    char *xs = next_field(&rest), *targets = next_field(&rest), *known = rest;
    uint32_t steps = (uint32_t)strlen(xs) / 4u / x_len(t);
    vg_sig *x = signals_in_place(xs, steps * x_len(t));
    vg_sig *target;
    int32_t updates;

    if (!x || !targets)
        return MESSAGE_ARGUMENT;
    target = signals_in_place(targets, steps * target_len(t));
    if (!target || (known && !take_flags(known, steps)))
        return MESSAGE_ARGUMENT;
    if (t->learn.flags & VG_SYMBOLS)
        updates = vg_train_symbols(t, (const uint16_t *)x, target,
                                   (const uint8_t *)known, steps);
    else
        updates = vg_train_steps(t, x, target, (const uint8_t *)known, steps);
    if (updates < 0)
        return (int)updates;
    answer_number(protocol_ok(p), "", (uint32_t)updates);
    return MESSAGE_OK;
}

int learning_end(struct protocol *p, const char *arg)
{
    int updates = vg_train_end(&p->train);

    (void)arg;
    if (updates < 0)
        return updates;
    answer_number(protocol_ok(p), "", (uint32_t)updates);
    return MESSAGE_OK;
}

int learning_counters(struct protocol *p, const char *arg)
{
    const vg_train *t = &p->train;
    const uint32_t counter[] = {
        t->sequences, t->steps,     t->updates,  t->clipped,
        t->falls,     t->saturated, t->norm_q16, (uint32_t)t->loss_q16,
    };
    struct answer *a = protocol_ok(p);
    uint32_t i;

    (void)arg;
    answer_text(a, "");
    for (i = 0; i < sizeof counter / sizeof *counter; i++)
        answer_hex(a, 8, counter[i]);
    return MESSAGE_OK;
}

/* Keep a blob for "fetch"; its last four bytes are its CRC. */
static int keep(struct protocol *p, const void *blob, uint32_t size)
{
    struct answer *a = protocol_ok(p);

    p->sealed = blob;
    p->sealed_size = size;
    answer_number(a, "", size);
    answer_bytes(a, p->sealed + size - 4, 4);
    return MESSAGE_OK;
}

int learning_seal(struct protocol *p, const char *arg)
{
    uint32_t size = 0;
    const void *blob = vg_train_blob(&p->train, &size);

    (void)arg;
    return keep(p, blob, size);
}

int learning_checkpoint(struct protocol *p, const char *arg)
{
    uint32_t size = 0;
    const void *blob = vg_train_checkpoint(&p->train, &size);

    (void)arg;
    return keep(p, blob, size);
}

int learning_fetch(struct protocol *p, const char *arg)
{
    uint32_t at, len;

    if (!take_number(&arg, &at) || !take_number(&arg, &len) || *arg ||
        !p->sealed || len == 0 || at > p->sealed_size ||
        len > p->sealed_size - at)
        return MESSAGE_ARGUMENT;
    answer_bytes(protocol_ok(p), p->sealed + at, len);
    return MESSAGE_OK;
}
