/* learning.h - the protocol's verbs of a training (PROTOCOL.md).  Each returns
 * a reason, or MESSAGE_OK and has begun an answer. */
#ifndef LEARNING_H
#define LEARNING_H

#include "protocol.h"

int learning_train(struct protocol *p, const char *arg);
int learning_resume(struct protocol *p, const char *arg);
int learning_settings(struct protocol *p, const char *arg);
int learning_tune(struct protocol *p, const char *arg);
int learning_rate(struct protocol *p, const char *arg);
int learning_teach(struct protocol *p, const char *arg);
int learning_end(struct protocol *p, const char *arg);
int learning_counters(struct protocol *p, const char *arg);
int learning_seal(struct protocol *p, const char *arg);
int learning_checkpoint(struct protocol *p, const char *arg);
int learning_fetch(struct protocol *p, const char *arg);

#endif
