/* The protocol on the target: what is refused, and a session. */
#include <string.h>

#include "board.h"
#include "protocol.h"
#include "tinytest.h"

#define TINY_MODEL_STEPS
#include "../tiny_model.h"

enum { POOL = 1024, LINE = 320, MOST = 36 /* steps that fit */ };

static struct protocol protocol;
static uint32_t pool[POOL / 4 + 1]; /* one more: never written */
static char heard[LINE];
static uint32_t heard_len;

static void hear(const char *text, uint32_t len)
{
    if (heard_len + len < sizeof heard)
        memcpy(heard + heard_len, text, len);
    heard_len += len;
}

/* Hand over raw text, a line without its end. */
static void send(const char *text)
{
    char line[LINE];

    memcpy(line, text, strlen(text) + 1);
    heard_len = 0;
    memset(heard, 0, sizeof heard);
    protocol_line(&protocol, line, (uint32_t)strlen(text));
}

static const char *checksum(const char *text)
{
    static char digits[6];
    uint32_t crc = message_crc(MESSAGE_CRC_START, text, (uint32_t)strlen(text));
    int i;

    digits[0] = '*';
    for (i = 4; i > 0; i--, crc >>= 4)
        digits[i] = "0123456789abcdef"[crc & 15u];
    return digits;
}

/* Hand over a request with its checksum. */
static void ask(const char *text)
{
    char line[LINE];

    memcpy(line, text, strlen(text) + 1);
    send(strcat(line, checksum(text)));
}

/* Is the last answer text, its checksum and a line end? */
static int is_answer(const char *text)
{
    uint32_t len = (uint32_t)strlen(text);

    return heard_len == len + 6 && memcmp(heard, text, len) == 0 &&
           memcmp(heard + len, checksum(text), 5) == 0 &&
           heard[len + 5] == '\n';
}

static void start(void)
{
    pool[POOL / 4] = 0x5a5a5a5a;
    protocol_init(&protocol, pool, POOL, LINE, hear);
}

static char *put_hex(char *at, uint32_t value, int digits)
{
    int i;

    for (i = digits; i-- > 0; value >>= 4)
        at[i] = "0123456789abcdef"[value & 15u];
    return at + digits;
}

/* Write at, below 1000, over three digits. */
static void put_place(char *digits, uint32_t at)
{
    digits[0] = (char)('0' + at / 100u);
    digits[1] = (char)('0' + at / 10u % 10u);
    digits[2] = (char)('0' + at % 10u);
}

static void send_blob(void)
{
    const uint8_t *byte = (const uint8_t *)vg_model_blob;
    char line[LINE];
    char *at;
    uint32_t i, k;

    ask("1 load 264");
    for (i = 0; i < VG_MODEL_BLOB_SIZE; i += 8) {
        memcpy(line, "2 blob 000 ", 12);
        put_place(line + 7, i);
        for (k = 0, at = line + 11; k < 8; k++)
            at = put_hex(at, byte[i + k], 2);
        *at = '\0';
        ask(line);
    }
}

static void test_crc_is_ccitt_false(void)
{
    TT_EQ(0x29B1, message_crc(MESSAGE_CRC_START, "123456789", 9));
}

static void test_damaged_lines_are_refused(void)
{
    static const char *const wrong[] = {
        "x",
        "*",
        "*ffff",
        "1 load 8",
        "1 hello*",
        "1 hello*00",
        "1 hello*0000",
        "1 hello*zzzz",
        "1\thello*9f6e",
        "\x80 hello*0000",
    };
    uint32_t i;

    start();
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        send(wrong[i]);
        TT_TRUE(is_answer("0 error damaged") || is_answer("0 error form"));
    }
}

static void test_requests_of_wrong_form_are_refused(void)
{
    static const char *const wrong[] = {
        "", "hello", "7", "7 ", "-7 hello", "4294967296 hello", "7 hello ",
    };
    uint32_t i;

    start();
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ask(wrong[i]);
        TT_TRUE(is_answer("0 error form") || is_answer("7 error form"));
    }
    ask("7 Hello");
    TT_TRUE(is_answer("7 error verb"));
    ask("7  hello");
    TT_TRUE(is_answer("7 error verb"));
}

static void test_wrong_arguments_are_refused(void)
{
    static const char *const wrong[] = {
        "7 hello 1",
        "7 load",
        "7 load 8 8",
        "7 load -1",
        "7 load 0x8",
        "7 load 8x",
        "7 blob 0",
        "7 blob 0 0",
        "7 blob 0 0g",
        "7 blob 8 00",
        "7 blob 9 00",
        "7 blob 0 00 00",
        "7 blob 0 000000000000000000",
        "7 blob 4294967295 0000",
    };
    uint32_t i;

    start();
    ask("1 load 8");
    TT_TRUE(is_answer("1 ok"));
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ask(wrong[i]);
        TT_TRUE(is_answer("7 error argument"));
    }
}

static void test_without_a_model_nothing_runs(void)
{
    static const char *const early[] = {
        "7 step 0000",  "7 trace 0000", "7 reset",     "7 save",
        "7 state 0 00", "7 restore",    "7 saturated", "7 scale 00000000",
        "7 sequence 1", "7 input 0 00", "7 whole",
    };
    uint32_t i;

    start();
    for (i = 0; i < sizeof early / sizeof *early; i++) {
        ask(early[i]);
        TT_TRUE(is_answer("7 error model"));
    }
}

static void test_memory_is_checked(void)
{
    start();
    ask("1 load 1025");
    TT_TRUE(is_answer("1 error memory"));
    protocol_init(&protocol, pool, VG_MODEL_BLOB_SIZE + 16, LINE, hear);
    send_blob();
    ask("3 open");
    TT_TRUE(is_answer("3 error memory"));
    ask("4 reset");
    TT_TRUE(is_answer("4 error model"));
}

static void test_a_wrong_blob_is_refused_by_the_core(void)
{
    start();
    send_blob();
    ask("3 blob 30 7f");
    ask("4 open");
    TT_EQ(0, memcmp(heard, "4 error core -", 14));
}

static void test_only_a_whole_state_is_restored(void)
{
    static const char *const pieces[] = {
        "9 state 0 000102", /* then a gap, a digit, too much */
        "9 state 4 00",
        "9 state 3 0g",
        "9 state 3 0000000000000000000000000000000000000000",
    };
    uint32_t i;

    start();
    send_blob();
    ask("3 open");
    for (i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        ask(pieces[i]);
        TT_TRUE(is_answer(i ? "9 error argument" : "9 ok"));
        ask("9 restore");
        TT_TRUE(is_answer("9 error argument"));
    }
    ask("9 save"); /* writes where the pieces lie */
    ask("9 state 3 00");
    TT_TRUE(is_answer("9 error argument"));
    ask("9 state 0 0000000000000000000000000000000000000000");
    TT_TRUE(is_answer("9 ok"));
    ask("9 restore");
    TT_EQ(0, memcmp(heard, "9 error core -7", 15));
}

static void test_a_session_gives_the_integers(void)
{
    char line[64], want[64];
    char *at;
    uint32_t t, k;

    start();
    send_blob();
    ask("3 open");
    TT_EQ(0, memcmp(heard, "3 ok n_in=3 n_out=2 state=20 arena=", 35));
    for (t = 0; t < STEPS; t++) {
        memcpy(line, "4 step ", 7);
        for (k = 0, at = line + 7; k < N_IN; k++)
            at = put_hex(at, (uint16_t)model_x[t * N_IN + k], 4);
        *at = '\0';
        ask(line);
        memcpy(want, "4 ok ", 5);
        for (k = 0, at = want + 5; k < N_OUT; k++)
            at = put_hex(at, (uint16_t)model_y[t * N_OUT + k], 4);
        memcpy(at + 1, want + 5, 4 * N_OUT); /* logits: a linear readout */
        *at = ' ';
        at[1 + 4 * N_OUT] = '\0';
        TT_TRUE(is_answer(want));
    }
    ask("5 step 00010002");
    TT_TRUE(is_answer("5 error argument"));
    ask("6 step 0001000200030004");
    TT_TRUE(is_answer("6 error argument"));
    ask("7 saturated");
    TT_TRUE(is_answer("7 ok 0"));
}

static void open_tiny(void)
{
    start();
    send_blob();
    ask("3 open");
}

/* Hand over steps of x, one a line, over again behind the last. */
static void send_x(uint32_t steps)
{
    uint32_t t, k;

    for (t = 0; t < steps; t++) {
        char line[64] = "5 input 000 ";
        char *at = line + 12;

        put_place(line + 8, 2u * N_IN * t);
        for (k = 0; k < N_IN; k++) { /* the low byte first */
            uint32_t x = (uint16_t)model_x[t % STEPS * N_IN + k];

            at = put_hex(put_hex(at, x, 2), x >> 8, 2);
        }
        *at = '\0';
        ask(line);
        TT_TRUE(is_answer("5 ok"));
    }
}

static void test_a_whole_sequence_gives_the_integers(void)
{
    static char want[LINE] = "6 ok ";
    char *at = want + 5;
    uint32_t k;

    open_tiny();
    ask("4 sequence 24");
    TT_TRUE(is_answer("4 ok"));
    send_x(STEPS);
    for (k = 0; k < STEPS * N_OUT; k++)
        at = put_hex(at, (uint16_t)model_y[k], 4);
    *at = ' ';
    memcpy(at + 1, at - 4 * N_OUT, 4 * N_OUT); /* logits: a linear readout */
    ask("6 whole");
    TT_TRUE(is_answer(want));
    for (k = 0, at = want + 5; k < sizeof model_state; k++)
        at = put_hex(at, model_state[k], 2);
    *at = '\0';
    ask("6 save");
    TT_TRUE(is_answer(want));
}

static void test_a_whole_sequence_must_fit_in_ram(void)
{
    static const char *const many[] = {
        "4 sequence 37",
        "4 sequence 1000000",
        "4 sequence 4294967295",
    };
    uint32_t i;

    open_tiny();
    ask("4 sequence 36");
    TT_TRUE(is_answer("4 ok"));
    send_x(MOST);
    ask("6 whole");
    TT_EQ(0, memcmp(heard, "6 ok ", 5));
    TT_TRUE(pool[POOL / 4] == 0x5a5a5a5a);
    for (i = 0; i < sizeof many / sizeof *many; i++) {
        ask(many[i]);
        TT_TRUE(is_answer("4 error memory"));
        ask("5 input 0 00");
        TT_TRUE(is_answer("5 error argument"));
        ask("6 whole");
        TT_TRUE(is_answer("6 error argument"));
    }
}

static void test_only_a_sequence_that_came_whole_runs(void)
{
    static const char *const wrong[] = {
        "9 input 0",
        "9 input 1 01",
        "9 input 0 0g",
        "9 input 0 00010002000300040005000600", /* a byte too many */
        "9 whole 1",
        "9 whole",
    };
    uint32_t i;

    open_tiny();
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ask("4 sequence 2");
        ask(wrong[i]);
        TT_TRUE(is_answer("9 error argument"));
    }
    ask("4 sequence 2");
    ask("5 input 0 0001000200030004000500");
    TT_TRUE(is_answer("5 ok"));
    ask("6 whole");
    TT_TRUE(is_answer("6 error argument"));
    ask("5 input 11 06");
    TT_TRUE(is_answer("5 ok"));
    ask("6 whole");
    TT_EQ(0, memcmp(heard, "6 ok ", 5));
    ask("6 whole"); /* its x is not kept */
    TT_TRUE(is_answer("6 error argument"));
}

int main(void)
{
    tt_begin(board_write);
    TT_RUN(test_crc_is_ccitt_false);
    TT_RUN(test_damaged_lines_are_refused);
    TT_RUN(test_requests_of_wrong_form_are_refused);
    TT_RUN(test_wrong_arguments_are_refused);
    TT_RUN(test_without_a_model_nothing_runs);
    TT_RUN(test_memory_is_checked);
    TT_RUN(test_a_wrong_blob_is_refused_by_the_core);
    TT_RUN(test_only_a_whole_state_is_restored);
    TT_RUN(test_a_session_gives_the_integers);
    TT_RUN(test_a_whole_sequence_gives_the_integers);
    TT_RUN(test_a_whole_sequence_must_fit_in_ram);
    TT_RUN(test_only_a_sequence_that_came_whole_runs);
    return tt_end();
}
