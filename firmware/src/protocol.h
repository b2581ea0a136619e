/* protocol.h - a model on a line: requests in, answers out (PROTOCOL.md). */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#include <stdint.h>

#include "message.h"
#include "vgrad.h"

enum { PROTOCOL_VERSION = 3 };

/* The pool holds: blob, if it was sent | arena | values of one step, or of a
 * whole sequence; in a training the arena alone, the blob in it. */
struct protocol {
    struct answer answer;
    uint32_t id;   /* of the request being answered */
    char *line;    /* the request, cut in place */
    uint8_t *pool; /* 4-byte aligned */
    uint32_t pool_size;
    uint32_t line_size;
    uint32_t blob_size; /* as announced by "load" */
    int is_open;
    vg_model model;
    vg_run run;
    uint8_t *values;    /* behind the arena: x and y, or a state */
    uint32_t state_len; /* bytes of a state that have come */
    uint32_t steps;     /* of the whole sequence that comes; 0: none */
    uint32_t input_len; /* bytes of it that have come */
    int is_training;    /* then no model is open */
    vg_train train;
    const uint8_t *sealed; /* what "fetch" reads, or null */
    uint32_t sealed_size;
};

/* Set up pool[size] with no model open.  line is the longest request. */
void protocol_init(struct protocol *p, void *pool, uint32_t size, uint32_t line,
                   void (*write)(const char *text, uint32_t len));

/* Answer one line, cut in place; line[len] has no line end, and room for one
 * byte more. */
void protocol_line(struct protocol *p, char *line, uint32_t len);

/* Answer a request that cannot be read, with a reason. */
void protocol_refuse(struct protocol *p, int reason);

/* For a verb: begin the answer to a request that succeeded. */
struct answer *protocol_ok(struct protocol *p);

#endif
