/* fuzz_blob.c - libFuzzer over vg_model_open and all that follows it.
 *
 * Magic, version, size and CRC are put right, so that the fuzzer spends its
 * time behind them.  tests/test_hostile.py runs it for some seconds; for long:
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined \
 *       -fno-sanitize-recover=all -include assert.h -DVG_ASSERT=assert \
 *       -Ifirmware/lib/vgrad/include tests/fuzz/fuzz_blob.c \
 *       $(find firmware/lib/vgrad/src -name '*.c') -o fuzz_blob &&
 *   mkdir -p crash-blobs && ./fuzz_blob -max_len=512 -timeout=5 crash-blobs
 */
#include "crc.h"
#include "exercise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint32_t own = (uint32_t)size & ~3u;
    uint8_t *blob;
    uint32_t crc;

    if (own < 28)
        return 0;
    blob = exactly(own, 0);
    memcpy(blob, data, own);
    memcpy(blob, "VGRD\x01", 6);
    memcpy(blob + 8, &own, 4);
    crc = crc32(blob, own - 4);
    memcpy(blob + own - 4, &crc, 4);
    (void)exercise(blob, own, crc);
    free(blob);
    return 0;
}
