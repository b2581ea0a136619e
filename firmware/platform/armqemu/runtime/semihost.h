/* semihost.h - a debugger's services to a program without an operating system
 * (Arm, "Semihosting for AArch32 and AArch64"). */
#ifndef SEMIHOST_H
#define SEMIHOST_H

#include <stdint.h>

/* The host's standard streams. */
enum { SEMIHOST_IN, SEMIHOST_OUT, SEMIHOST_ERR };

/* Wait for input; return how many bytes came, 0 at its end.  One call takes
 * all that is there, up to size. */
int32_t semihost_read(char *buf, int32_t size);

/* Write all of text[len] to SEMIHOST_OUT or SEMIHOST_ERR. */
void semihost_write(int stream, const char *text, int32_t len);

/* Leave; code becomes the exit code of the emulator. */
void semihost_exit(int code) __attribute__((noreturn));

#endif
