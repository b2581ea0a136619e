/* board_arduino.cpp - real boards: the serial port of the Arduino core.
 * Only calls that docs.arduino.cc documents; not yet run on a board. */
#include <Arduino.h>

#include "board.h"

#ifndef BOARD_POOL_BYTES
#define BOARD_POOL_BYTES 8192 /* platformio.ini knows each board's RAM */
#endif

/* No macro tells an M7 from an M4, but of the two only the M7 has a unit for
 * double precision. */
#ifdef BOARD_CORE
#elif defined __ARM_ARCH_6M__
#define BOARD_CORE "cortex-m0"
#elif defined __ARM_ARCH_7M__
#define BOARD_CORE "cortex-m3"
#elif defined __ARM_ARCH_7EM__ && defined __ARM_FP && __ARM_FP & 8
#define BOARD_CORE "cortex-m7"
#elif defined __ARM_ARCH_7EM__
#define BOARD_CORE "cortex-m4"
#elif defined __ARM_ARCH_8M_MAIN__
#define BOARD_CORE "cortex-m33"
#else
#define BOARD_CORE "unknown"
#endif

static const unsigned long BAUD = 115200; /* pyvgrad/link.py has the same */
static const uint32_t POOL_WORDS = BOARD_POOL_BYTES / 4;
static const uint32_t AHEAD = 63; /* a core's ring of 64 bytes holds these */

static uint32_t pool[POOL_WORDS];

const struct board board = {
    BOARD_CORE, pool, pool + POOL_WORDS, 0, 0, AHEAD,
};

/* A serial port has no end of input. */
int32_t board_read(char *buf, int32_t size)
{
    int32_t len = 0;

    while (Serial.available() <= 0)
        ;
    while (len < size && Serial.available() > 0)
        buf[len++] = (char)Serial.read();
    return len;
}

/* USB takes nothing while no host listens: it gets the rest later. */
void board_write(const char *text, int32_t len)
{
    while (len > 0) {
        const uint8_t *data = reinterpret_cast<const uint8_t *>(text);
        size_t done = Serial.write(data, (size_t)len);

        text += done;
        len -= (int32_t)done;
    }
    Serial.flush();
}

void board_exit(int)
{
    for (;;)
        delay(1000);
}

void setup()
{
    Serial.begin(BAUD);
    application();
}

void loop()
{
}
