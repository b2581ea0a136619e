/* running.h - the protocol's verbs of an open model (PROTOCOL.md).  Each
 * returns a reason, or MESSAGE_OK and has begun an answer. */
#ifndef RUNNING_H
#define RUNNING_H

#include "protocol.h"

int running_reset(struct protocol *p, const char *arg);
int running_step(struct protocol *p, const char *arg);
int running_trace(struct protocol *p, const char *arg);
int running_save(struct protocol *p, const char *arg);
int running_state(struct protocol *p, const char *arg);
int running_restore(struct protocol *p, const char *arg);
int running_saturated(struct protocol *p, const char *arg);
int running_scale(struct protocol *p, const char *arg);
int running_sequence(struct protocol *p, const char *arg);
int running_input(struct protocol *p, const char *arg);
int running_whole(struct protocol *p, const char *arg);

#endif
