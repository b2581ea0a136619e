/* fuzz_slots.c - libFuzzer over two slots of anything: what vg_slots_newest
 * gives lies in its slot and opens, and a save into the other slot succeeds.
 *
 * The first byte says which slots are filled, and by how much the second one's
 * sequence number is larger; the next what is put right in headers and blobs.
 * tests/test_slots.py runs it for some seconds; for long build it as
 * fuzz_blob.c says.
 */
#include "crc.h"
#include "exercise.h"

enum { HEADER = 32 };

static int erase(void *ctx, int slot)
{
    const vg_slots *s = *(vg_slots **)ctx;

    memset((uint8_t *)(uintptr_t)s->at[slot], 0xFF, s->size);
    return 0;
}

static int write(void *ctx, int slot, uint32_t at, const void *p, uint32_t n)
{
    const vg_slots *s = *(vg_slots **)ctx;

    MUST(at % HEADER == 0 && n == HEADER && at <= s->size - n);
    memcpy((uint8_t *)(uintptr_t)s->at[slot] + at, p, n);
    return 0;
}

/* Seal the blob in the slot, and the header before it. */
static void mend(uint8_t *slot, uint32_t own, uint8_t what)
{
    uint8_t *blob = slot + HEADER;
    uint32_t crc;

    if (what & 1) {
        memcpy(blob, "VGRD\x01", 6);
        memcpy(blob + 8, &own, 4);
        crc = crc32(blob, own - 4);
        memcpy(blob + own - 4, &crc, 4);
    }
    if (what & 2)
        memcpy(slot, "VGSL", 4);
    if (what & 4)
        memcpy(slot + 8, &own, 4);
    if (what & 8)
        memcpy(slot + 12, blob + own - 4, 4);
    if (what & 16)
        memset(slot + 16, 0, 12);
    crc = crc32(slot, HEADER - 4);
    memcpy(slot + HEADER - 4, &crc, 4);
}

static void use(const vg_slots *s)
{
    const uint8_t *found, *again;
    uint8_t *copy;
    uint32_t size, still;
    vg_model m;
    int slot;

    found = vg_slots_newest(s, &size);
    if (!found)
        return;
    slot = found == s->at[1] + HEADER;
    MUST(slot || found == s->at[0] + HEADER);
    MUST(size <= s->size - HEADER && vg_model_open(&m, found, size) == VG_OK);
    MUST(m.size == size);
    if (vg_slots_save(s, found, size) != VG_OK) {
        MUST(HEADER + (size + 31) / 32 * 32 > s->size);
        return;
    }
    again = vg_slots_newest(s, &still);
    MUST(again == s->at[1 - slot] + HEADER && still == size);
    MUST(memcmp(found, again, size) == 0);
    copy = exactly(size, 0); /* not a byte more may be read */
    memcpy(copy, again, size);
    MUST(vg_slots_save(s, copy, size) == VG_OK);
    MUST(vg_slots_newest(s, &still) == found && still == size);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vg_slots s = {{NULL, NULL}, 0, NULL, erase, write}, *self = &s;
    uint8_t *slots[2];

    if (size < 2)
        return 0;
    s.ctx = &self;
    s.size = (uint32_t)size - 2;
    for (int k = 0; k < 2; k++) {
        slots[k] = exactly(s.size, 0xFF);
        s.at[k] = slots[k];
        if (!(data[0] >> k & 1))
            continue;
        memcpy(slots[k], data + 2, s.size);
        if (s.size < HEADER + 28)
            continue;
        slots[k][4] = (uint8_t)(slots[k][4] + k * (data[0] >> 4));
        if (data[0] & 4)
            mend(slots[k], (s.size - HEADER) & ~3u, data[1]);
    }
    use(&s);
    free(slots[0]);
    free(slots[1]);
    return 0;
}
