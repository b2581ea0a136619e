/* tinytest.h - unit tests in C99, without stdio.
 *
 * Prints "file:line:name:PASS" or "...:FAIL: why" and a summary line, the form
 * that PlatformIO's reader of Unity parses. */
#ifndef TINYTEST_H
#define TINYTEST_H

#include <stdint.h>

/* Start; write sends text[len] to whoever reads. */
void tt_begin(void (*write)(const char *text, int32_t len));

void tt_run(void (*test)(void), const char *name, const char *file, int line);

/* A test's first failure is told, and the test goes on. */
void tt_equal(int64_t want, int64_t got, const char *file, int line);

/* Write the summary; 0 if all passed, else 1. */
int tt_end(void);

#define TT_RUN(test) tt_run((test), #test, __FILE__, __LINE__)
#define TT_EQ(want, got) tt_equal((want), (got), __FILE__, __LINE__)
#define TT_TRUE(claim) tt_equal(1, !!(claim), __FILE__, __LINE__)

#endif
