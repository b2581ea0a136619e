/* message.h - the form of requests and answers; PROTOCOL.md describes it. */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdint.h>

/* Why a request is refused.  A negative reason is a vg_err. */
enum reason {
    MESSAGE_OK,
    MESSAGE_DAMAGED,  /* checksum, or a byte that is no printable ASCII */
    MESSAGE_LONG,     /* longer than the board's line */
    MESSAGE_FORM,     /* not "id verb ..." */
    MESSAGE_VERB,     /* no such verb */
    MESSAGE_ARGUMENT, /* missing, too many, or of the wrong kind or length */
    MESSAGE_MEMORY,   /* does not fit in the board's RAM */
    MESSAGE_MODEL,    /* no model is open */
    MESSAGE_TRAINING, /* no training has begun */
    MESSAGE_BOARD     /* this board has no such thing */
};

struct request {
    uint32_t id;
    const char *verb;
    const char *arg; /* the rest of the line, "" if there is none */
};

/* Cut line[len], without its line end, into a request that points into it.
 * Returns a reason; id is 0 unless it could be trusted. */
int request_parse(struct request *r, char *line, uint32_t len);

/* Take a decimal number and the space behind it from *arg; 0 if there is none
 * below 2^32. */
int take_number(const char **arg, uint32_t *value);

/* Take digits hexadecimal digits, up to 8, from *arg; 0 if they are not. */
int take_hex(const char **arg, uint32_t digits, uint32_t *value);

/* Take exactly n signals; 0 if arg holds anything else. */
int take_signals(const char *arg, int16_t *x, uint32_t n);

/* Turn text, exactly 4 n digits, into n signals where it stands, n > 0; null if
 * it holds anything else.  The digits are lost. */
int16_t *signals_in_place(char *text, uint32_t n);

/* Take one or more bytes, up to size; returns how many, or 0, with to as it
 * was, if arg holds anything else. */
uint32_t take_bytes(const char *arg, uint8_t *to, uint32_t size);

struct answer {
    void (*write)(const char *text, uint32_t len);
    uint16_t crc; /* of the line so far */
};

/* Write a line: begin with an id, add fields, end.  A field brings the space
 * before it; only answer_hex does not. */
void answer_begin(struct answer *a, uint32_t id);
void answer_text(struct answer *a, const char *text);
void answer_number(struct answer *a, const char *name, uint32_t value);
void answer_hex(struct answer *a, uint32_t digits, uint32_t value);
void answer_bytes(struct answer *a, const uint8_t *byte, uint32_t len);
void answer_signals(struct answer *a, const int16_t *x, uint32_t n);
void answer_end(struct answer *a);

/* CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xFFFF, most significant bit
 * first. */
enum { MESSAGE_CRC_START = 0xFFFF };
uint16_t message_crc(uint16_t crc, const char *text, uint32_t len);

#endif
