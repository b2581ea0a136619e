/* fuzz_train.c - libFuzzer over checkpoints: what vg_train_init goes on from is
 * trained, saved, and gone on from again.
 *
 * Magic, version, size and CRC are put right, as in fuzz_blob.c, which says how
 * to build it for long; tests/test_train_hostile.py runs it for some seconds
 * from checkpoints of every kind.  The blob is also trained anew, by the
 * settings in the checkpoint.
 */
#include "crc.h"
#include "trained.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The settings of the state in the last section, whatever they are. */
static int settings_in(const uint8_t *blob, uint32_t own, vg_learn *learn)
{
    for (uint32_t at = own - 4; at >= 24 + 48; at -= 4)
        if (memcmp(blob + at - 48, "lrns", 4) == 0) {
            memcpy(learn, blob + at - 48 + 12, sizeof *learn);
            return 1;
        }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint32_t own = (uint32_t)size & ~3u;
    vg_learn learn;
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
    (void)train(blob, own, NULL, 12, crc);
    if (settings_in(blob, own, &learn))
        (void)train(blob, own, &learn, 12, crc);
    free(blob);
    return 0;
}
