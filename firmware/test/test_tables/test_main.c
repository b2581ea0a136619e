/* sigmoid and tanh for every argument, on the target.  tests/test_firmware.py
 * computes the two checksums from the functions themselves. */
#include "../../lib/vgrad/src/lut.h"
#include "board.h"
#include "tinytest.h"
#include "vgrad.h"

#define SIGMOID_CRC 0xf42fbc0au
#define TANH_CRC 0x2b54322eu

/* CRC-32 (as zlib) of f(-32768) .. f(32767) as little-endian int16. */
static uint32_t checksum(int32_t (*f)(int32_t))
{
    uint32_t crc = 0xFFFFFFFFu;
    int32_t z;
    int bit;

    for (z = INT16_MIN; z <= INT16_MAX; z++) {
        crc ^= (uint16_t)f(z); /* 16 bits at once: the low byte goes first */
        for (bit = 0; bit < 16; bit++)
            crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}

static void test_sigmoid_is_rounded_correctly(void)
{
    TT_EQ(SIGMOID_CRC, checksum(lut_sigmoid));
}

static void test_tanh_is_rounded_correctly(void)
{
    TT_EQ(TANH_CRC, checksum(lut_tanh));
}

int main(void)
{
    tt_begin(board_write);
    TT_RUN(test_sigmoid_is_rounded_correctly);
    TT_RUN(test_tanh_is_rounded_correctly);
    return tt_end();
}
