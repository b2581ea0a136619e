/* crc.h - the CRC-32 of BLOB.md, bit by bit: not the code that is on trial. */
#ifndef CRC_H
#define CRC_H

#include <stddef.h>
#include <stdint.h>

static uint32_t crc32(const uint8_t *p, size_t n)
{
    uint32_t crc = 0xFFFFFFFF;

    while (n--) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
    }
    return ~crc;
}

#endif
