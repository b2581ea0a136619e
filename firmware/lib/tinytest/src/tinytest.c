#include "tinytest.h"

#include <string.h>

static struct {
    void (*write)(const char *text, int32_t len);
    const char *name;
    int tests, failures, has_failed;
} tt;

static void put(const char *text)
{
    tt.write(text, (int32_t)strlen(text));
}

static void put_number(int64_t value)
{
    char text[21];
    char *at = text + sizeof text;
    uint64_t left = value < 0 ? 0u - (uint64_t)value : (uint64_t)value;

    *--at = '\0';
    do {
        *--at = (char)('0' + left % 10u);
        left /= 10u;
    } while (left);
    if (value < 0)
        put("-");
    put(at);
}

static void put_place(const char *file, int line)
{
    put(file);
    put(":");
    put_number(line);
    put(":");
    put(tt.name);
}

void tt_begin(void (*write)(const char *text, int32_t len))
{
    memset(&tt, 0, sizeof tt);
    tt.write = write;
}

void tt_equal(int64_t want, int64_t got, const char *file, int line)
{
    if (want == got || tt.has_failed)
        return;
    tt.has_failed = 1;
    put_place(file, line);
    put(":FAIL: Expected ");
    put_number(want);
    put(" Was ");
    put_number(got);
    put("\n");
}

void tt_run(void (*test)(void), const char *name, const char *file, int line)
{
    tt.name = name;
    tt.has_failed = 0;
    tt.tests++;
    test();
    tt.failures += tt.has_failed;
    if (!tt.has_failed) {
        put_place(file, line);
        put(":PASS\n");
    }
}

int tt_end(void)
{
    put("-----------------------\n");
    put_number(tt.tests);
    put(" Tests ");
    put_number(tt.failures);
    put(" Failures 0 Ignored\n");
    put(tt.failures ? "FAIL\n" : "OK\n");
    return tt.failures != 0;
}
