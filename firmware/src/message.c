#include "message.h"

#include <string.h>

enum { CRC_DIGITS = 4 };

uint16_t message_crc(uint16_t crc, const char *text, uint32_t len)
{
    static const uint16_t nibble[16] = {
        0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
        0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
    };
    uint32_t c = crc, i;

    for (i = 0; i < len; i++) {
        uint32_t byte = (uint8_t)text[i];

        c = (c << 4 & 0xFFFFu) ^ nibble[c >> 12 ^ byte >> 4];
        c = (c << 4 & 0xFFFFu) ^ nibble[c >> 12 ^ (byte & 15u)];
    }
    return (uint16_t)c;
}

static int hex_digit(char c, uint32_t *value)
{
    if (c >= '0' && c <= '9')
        *value = (uint32_t)(c - '0');
    else if (c >= 'a' && c <= 'f')
        *value = (uint32_t)(c - 'a') + 10u;
    else if (c >= 'A' && c <= 'F')
        *value = (uint32_t)(c - 'A') + 10u;
    else
        return 0;
    return 1;
}

int take_hex(const char **arg, uint32_t digits, uint32_t *value)
{
    uint32_t sum = 0, digit, i;

    for (i = 0; i < digits; i++) {
        if (!hex_digit((*arg)[i], &digit))
            return 0;
        sum = sum << 4 | digit;
    }
    *arg += digits;
    *value = sum;
    return 1;
}

int take_number(const char **arg, uint32_t *value)
{
    const char *at = *arg;
    uint64_t sum = 0;

    if (*at < '0' || *at > '9')
        return 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        sum = sum * 10u + (uint32_t)(*at - '0');
        if (sum > UINT32_MAX)
            return 0;
    }
    if (*at == ' ' && at[1] != '\0')
        at++;
    else if (*at != '\0')
        return 0;
    *arg = at;
    *value = (uint32_t)sum;
    return 1;
}

int take_signals(const char *arg, int16_t *x, uint32_t n)
{
    uint32_t i, raw;

    for (i = 0; i < n; i++) {
        if (!take_hex(&arg, 4, &raw))
            return 0;
        x[i] = (int16_t)((int32_t)(raw ^ 0x8000u) - 0x8000);
    }
    return *arg == '\0';
}

int16_t *signals_in_place(char *text, uint32_t n)
{
    /* 4 digits are read before their 2 bytes are written, at most one byte
     * further on: no digit is overwritten unread */
    int16_t *x = (int16_t *)(void *)(text + ((uintptr_t)text & 1u));

    return n > 0 && take_signals(text, x, n) ? x : 0;
}

uint32_t take_bytes(const char *arg, uint8_t *to, uint32_t size)
{
    uint32_t len = (uint32_t)strlen(arg), byte, i;

    if (len % 2u || len / 2u > size)
        return 0;
    for (i = 0; i < len; i++)
        if (!hex_digit(arg[i], &byte))
            return 0;
    for (i = 0; i < len / 2u && take_hex(&arg, 2, &byte); i++)
        to[i] = (uint8_t)byte;
    return i;
}

/* Check line[len] against "*" and four digits at its end, and cut these. */
static int check(char *line, uint32_t len)
{
    const char *digits;
    uint32_t i, crc, body;

    for (i = 0; i < len; i++)
        if (line[i] < ' ' || line[i] > '~')
            return 0;
    if (len < CRC_DIGITS + 1)
        return 0;
    body = len - CRC_DIGITS - 1;
    digits = line + body + 1;
    if (line[body] != '*' || !take_hex(&digits, CRC_DIGITS, &crc))
        return 0;
    line[body] = '\0';
    return crc == message_crc(MESSAGE_CRC_START, line, body);
}

int request_parse(struct request *r, char *line, uint32_t len)
{
    const char *at = line;
    char *space;

    r->id = 0;
    if (!check(line, len))
        return MESSAGE_DAMAGED;
    if (!take_number(&at, &r->id) || *at == '\0')
        return MESSAGE_FORM;
    r->verb = at;
    space = strchr(line + (at - line), ' ');
    r->arg = at + strlen(at);
    if (space) {
        *space = '\0';
        r->arg = space + 1;
        if (*r->arg == '\0')
            return MESSAGE_FORM;
    }
    return MESSAGE_OK;
}

static void put(struct answer *a, const char *text, uint32_t len)
{
    a->crc = message_crc(a->crc, text, len);
    a->write(text, len);
}

static void put_number(struct answer *a, uint32_t value)
{
    char text[10];
    uint32_t at = sizeof text;

    do {
        text[--at] = (char)('0' + value % 10u);
        value /= 10u;
    } while (value);
    put(a, text + at, (uint32_t)sizeof text - at);
}

void answer_begin(struct answer *a, uint32_t id)
{
    a->crc = MESSAGE_CRC_START;
    put_number(a, id);
}

void answer_text(struct answer *a, const char *text)
{
    put(a, " ", 1);
    put(a, text, (uint32_t)strlen(text));
}

void answer_number(struct answer *a, const char *name, uint32_t value)
{
    answer_text(a, name);
    put_number(a, value);
}

void answer_hex(struct answer *a, uint32_t digits, uint32_t value)
{
    char text[8];
    uint32_t i;

    for (i = digits; i-- > 0; value >>= 4)
        text[i] = "0123456789abcdef"[value & 15u];
    put(a, text, digits);
}

void answer_bytes(struct answer *a, const uint8_t *byte, uint32_t len)
{
    uint32_t i;

    answer_text(a, "");
    for (i = 0; i < len; i++)
        answer_hex(a, 2, byte[i]);
}

void answer_signals(struct answer *a, const int16_t *x, uint32_t n)
{
    uint32_t i;

    answer_text(a, "");
    for (i = 0; i < n; i++)
        answer_hex(a, 4, (uint16_t)x[i]);
}

void answer_end(struct answer *a)
{
    uint16_t crc = a->crc;

    a->write("*", 1);
    answer_hex(a, CRC_DIGITS, crc);
    a->write("\n", 1);
}
