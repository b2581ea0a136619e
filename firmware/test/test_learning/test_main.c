/* Training over the protocol on the target, against the library called
 * directly. */
#include <string.h>

#include "board.h"
#include "protocol.h"
#include "tinytest.h"

#define TINY_MODEL_STEPS
#include "../tiny_model.h"

enum { POOL = 3072, LINE = 320, SEQUENCE = 8 };

static const vg_learn learn = {
    VG_TBPTT, VG_SGD, VG_MSE, 0, 2, 5, 0, 1 << 20, 0, 1 << 16, 0, 7,
};

static struct protocol protocol;
static uint32_t pool[POOL / 4];
static char heard[LINE], line[LINE];
static uint32_t heard_len;

static void hear(const char *text, uint32_t len)
{
    if (heard_len + len < sizeof heard)
        memcpy(heard + heard_len, text, len);
    heard_len += len;
}

static char *put_hex(char *at, uint32_t value, int digits)
{
    int i;

    for (i = digits; i-- > 0; value >>= 4)
        at[i] = "0123456789abcdef"[value & 15u];
    return at + digits;
}

static char *put_text(char *at, const char *text)
{
    size_t len = strlen(text);

    memcpy(at, text, len);
    return at + len;
}

/* Hand over the request that stands in line up to end. */
static void ask_line(char *end)
{
    uint32_t len = (uint32_t)(end - line);
    uint32_t crc = message_crc(MESSAGE_CRC_START, line, len);

    *end = '*';
    (void)put_hex(end + 1, crc, 4);
    memset(heard, 0, sizeof heard);
    heard_len = 0;
    protocol_line(&protocol, line, len + 5);
}

static void ask(const char *text)
{
    ask_line(put_text(line, text));
}

/* Is the last answer's body text? */
static int is_answer(const char *text)
{
    size_t len = strlen(text);

    return heard_len == len + 6 && memcmp(heard, text, len) == 0;
}

static void ask_train(const char *verb, const vg_learn *settings)
{
    const uint8_t *byte = (const uint8_t *)settings;
    char *at = put_text(line, verb);
    uint32_t i;

    for (i = 0; i < sizeof *settings; i++)
        at = put_hex(at, byte[i], 2);
    ask_line(at);
}

static void begin(void)
{
    protocol_init(&protocol, pool, sizeof pool, LINE, hear);
    ask("1 load 264");
    memcpy(pool, vg_model_blob, VG_MODEL_BLOB_SIZE);
    ask_train("2 train ", &learn);
}

/* A target that the model does not give by itself. */
static vg_sig wanted(uint32_t t, uint32_t k)
{
    return (vg_sig)(model_y[t * N_OUT + k] / 2);
}

/* Steps first .. last - 1; every third has no target. */
static void ask_teach(uint32_t first, uint32_t last)
{
    char *at = put_text(line, "3 teach ");
    uint32_t t, k;

    for (t = first; t < last; t++)
        for (k = 0; k < N_IN; k++)
            at = put_hex(at, (uint16_t)model_x[t * N_IN + k], 4);
    *at++ = ' ';
    for (t = first; t < last; t++)
        for (k = 0; k < N_OUT; k++)
            at = put_hex(at, (uint16_t)wanted(t, k), 4);
    *at++ = ' ';
    for (t = first; t < last; t++)
        *at++ = t % 3u == 2u ? '0' : '1';
    ask_line(at);
}

/* The same without the protocol; returns the updates. */
static int teach_directly(vg_train *t, uint32_t first, uint32_t last)
{
    vg_sig target[N_OUT];
    uint32_t i, k;
    int updates = 0;

    for (i = first; i < last; i++) {
        for (k = 0; k < N_OUT; k++)
            target[k] = wanted(i, k);
        updates +=
            vg_train_step(t, &model_x[i * N_IN], i % 3u == 2u ? 0 : target, 0);
    }
    return updates;
}

static void test_training_over_the_protocol_gives_the_same_blob(void)
{
    static uint32_t arena[POOL / 4];
    vg_model model;
    vg_train train;
    const void *blob;
    uint32_t first, size;
    char want[] = "3 ok 0";

    (void)vg_model_open(&model, vg_model_blob, VG_MODEL_BLOB_SIZE);
    TT_EQ(VG_OK, vg_train_init(&train, &model, &learn, arena, sizeof arena));
    begin();
    TT_EQ(0, memcmp(heard, "2 ok n_in=3 n_out=2 output=0 arena=", 35));
    for (first = 0; first < STEPS; first += SEQUENCE) {
        want[5] = (char)('0' + teach_directly(&train, first, first + SEQUENCE));
        ask_teach(first, first + SEQUENCE);
        TT_TRUE(is_answer(want));
        want[5] = (char)('0' + vg_train_end(&train));
        ask("3 end");
        TT_TRUE(is_answer(want));
    }
    TT_TRUE(train.updates > 0);
    blob = vg_train_blob(&train, &size);
    ask("4 seal");
    TT_EQ(0, memcmp(heard, "4 ok 264 ", 9));
    TT_EQ(size, protocol.sealed_size);
    TT_EQ(0, memcmp(blob, protocol.sealed, size));
    TT_TRUE(memcmp(blob, vg_model_blob, size) != 0);
}

static void test_without_a_training_nothing_is_learnt(void)
{
    static const char *const early[] = {
        "7 teach 0 0", "7 end",     "7 counters", "7 seal",   "7 checkpoint",
        "7 fetch 0 1", "7 tune 00", "7 settings", "7 rate 0",
    };
    uint32_t i;

    protocol_init(&protocol, pool, sizeof pool, LINE, hear);
    for (i = 0; i < sizeof early / sizeof *early; i++) {
        ask(early[i]);
        TT_TRUE(is_answer("7 error training"));
    }
    ask_train("7 train ", &learn);
    TT_EQ(0, memcmp(heard, "7 error core -3", 15));
}

static void test_refused_requests_change_nothing(void)
{
    static const char *const wrong[] = {
        "7 teach 000000000000",
        "7 teach 000000000000 0000000",
        "7 teach 000000000000 00000000 2",
        "7 teach 000000000000 00000000 11",
        "7 teach 000000000000 00000000 1 1",
        "7 teach 000000000000 00000000 ",
        "7 teach 000000000000  00000000",
        "7 teach 00000000000g 00000000",
        "7 teach 00000000 00000000",
        "7 teach 0000000000000000 00000000",
        "7 rate 0 0 0",
        "7 rate 0 0 0 2147483648",
        "7 tune 00",
        "7 fetch 0 1",
        "7 train 00",
    };
    uint8_t before[4]; /* the CRC of the weights */
    uint32_t i;

    begin();
    ask_teach(0, SEQUENCE);
    ask("8 seal");
    memcpy(before, protocol.sealed + protocol.sealed_size - 4, 4);
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ask(wrong[i]);
        TT_TRUE(is_answer("7 error argument"));
    }
    ask("7 rate 9 0 0 1");
    TT_EQ(0, memcmp(heard, "7 error core -1", 15));
    ask_train("7 train ", &learn); /* there is no blob any more */
    TT_EQ(0, memcmp(heard, "7 error core -3", 15));
    ask("7 step 000000000000");
    TT_TRUE(is_answer("7 error model"));
    TT_EQ(SEQUENCE, protocol.train.steps);
    ask("8 seal");
    TT_EQ(0, memcmp(before, protocol.sealed + protocol.sealed_size - 4, 4));
    ask("9 load 8");
    ask("9 end");
    TT_TRUE(is_answer("9 error training"));
}

static void test_an_arena_that_does_not_fit_is_refused(void)
{
    begin();
    protocol_init(&protocol, pool, protocol.train.model.size + 64, LINE, hear);
    ask("1 load 264");
    memcpy(pool, vg_model_blob, VG_MODEL_BLOB_SIZE);
    ask_train("2 train ", &learn);
    TT_TRUE(is_answer("2 error memory"));
    TT_EQ(0, memcmp(pool, vg_model_blob, VG_MODEL_BLOB_SIZE));
}

static void test_what_was_sealed_is_fetched_until_the_next_request(void)
{
    begin();
    ask("3 seal");
    ask("4 fetch 0 4");
    TT_TRUE(is_answer("4 ok 56475244"));
    ask("4 fetch 262 3");
    TT_TRUE(is_answer("4 error argument"));
    ask("4 fetch 264 0");
    TT_TRUE(is_answer("4 error argument"));
    ask("4 fetch 4294967295 2");
    TT_TRUE(is_answer("4 error argument"));
    ask("5 end");
    ask("4 fetch 0 4");
    TT_TRUE(is_answer("4 error argument"));
}

int main(void)
{
    tt_begin(board_write);
    TT_RUN(test_training_over_the_protocol_gives_the_same_blob);
    TT_RUN(test_without_a_training_nothing_is_learnt);
    TT_RUN(test_refused_requests_change_nothing);
    TT_RUN(test_an_arena_that_does_not_fit_is_refused);
    TT_RUN(test_what_was_sealed_is_fetched_until_the_next_request);
    return tt_end();
}
