/* slots.c - the trained blob in two flash slots, the newer whole one wins.
 * BLOB.md, "Slots", is the format and says why no cut can lose both.
 */
#include <string.h>

#include "core.h"

/* What is written in one piece, and so also the header: a whole number of
 * granules of any flash whose granule is 1 to 32 bytes. */
enum { PIECE = 32, NO_SLOT = -1 };

/* The only header that a slot with this sequence number and blob may have. */
static void make_header(uint32_t *header, uint32_t sequence, const vg_model *m)
{
    memset(header, 0, PIECE);
    memcpy(header, "VGSL", 4);
    header[1] = sequence;
    header[2] = m->size;
    header[3] = vg_blob_crc(m);
    header[7] = vg_crc32((const uint8_t *)header, PIECE - 4);
}

static uint32_t sequence_of(const vg_slots *s, int slot)
{
    return get32(s->at[slot] + 4);
}

/* Is there a whole blob in the slot, with the header that belongs to it? */
static int is_whole(const vg_slots *s, int slot, vg_model *m)
{
    const uint8_t *p = s->at[slot];
    uint32_t header[PIECE / 4], length;

    if (s->size < PIECE)
        return 0;
    length = get32(p + 8);
    if (length > s->size - PIECE || vg_model_open(m, p + PIECE, length))
        return 0;
    make_header(header, sequence_of(s, slot), m);
    return memcmp(header, p, PIECE) == 0;
}

/* The newest whole slot and its blob, or NO_SLOT.  A number is newer than those
 * up to 2^31 - 1 before it, modulo 2^32. */
static int find_newest(const vg_slots *s, vg_model *m)
{
    vg_model second;
    const int first_ok = is_whole(s, 0, m), second_ok = is_whole(s, 1, &second);

    if (second_ok) {
        const uint32_t ahead = sequence_of(s, 1) - sequence_of(s, 0);
        if (!first_ok || (ahead && ahead < 0x80000000)) {
            *m = second;
            return 1;
        }
    }
    return first_ok ? 0 : NO_SLOT;
}

static int overlap(const void *a, uint32_t a_size, const void *b,
                   uint32_t b_size)
{
    const uintptr_t p = (uintptr_t)a, q = (uintptr_t)b;

    return p >= q ? p - q < b_size : q - p < a_size;
}

static int check_slots(const vg_slots *s)
{
    if (!s || !s->at[0] || !s->at[1] ||
        overlap(s->at[0], s->size, s->at[1], s->size))
        return VG_E_ARG;
    if ((uintptr_t)s->at[0] % 8 || (uintptr_t)s->at[1] % 8)
        return VG_E_ALIGN;
    return VG_OK;
}

const void *vg_slots_newest(const vg_slots *s, uint32_t *size)
{
    vg_model m;

    if (!size || check_slots(s) || find_newest(s, &m) == NO_SLOT)
        return NULL;
    *size = m.size;
    return m.blob;
}

/* Write the blob behind where its header will be, and read it back.  All goes
 * through the stack: the blob itself may be in flash, which many a chip cannot
 * read while it writes. */
static int write_blob(const vg_slots *s, int slot, const vg_model *m)
{
    uint32_t piece[PIECE / 4];

    for (uint32_t at = 0; at < m->size; at += PIECE) {
        const uint32_t left = m->size - at;
        memset(piece, 0xFF, PIECE);
        memcpy(piece, m->blob + at, left < PIECE ? left : PIECE);
        if (s->write(s->ctx, slot, PIECE + at, piece, PIECE))
            return VG_E_FLASH;
    }
    return memcmp(s->at[slot] + PIECE, m->blob, m->size) ? VG_E_FLASH : VG_OK;
}

static int write_header(const vg_slots *s, int slot, const vg_model *m,
                        uint32_t sequence)
{
    uint32_t header[PIECE / 4];

    make_header(header, sequence, m);
    if (s->write(s->ctx, slot, 0, header, PIECE) ||
        memcmp(s->at[slot], header, PIECE) != 0)
        return VG_E_FLASH;
    return VG_OK;
}

int vg_slots_save(const vg_slots *s, const void *blob, uint32_t size)
{
    vg_model m, last;
    uint32_t sequence;
    int newest, slot, err;

    if ((err = check_slots(s)) != 0)
        return err;
    if (!s->erase || !s->write)
        return VG_E_ARG;
    if ((err = vg_model_open(&m, blob, size)) != 0)
        return err;
    if (s->size < PIECE || m.size > ((s->size - PIECE) & ~(PIECE - 1u)))
        return VG_E_SIZE;
    newest = find_newest(s, &last);
    slot = newest == 0 ? 1 : 0;
    if (overlap(blob, m.size, s->at[slot], s->size))
        return VG_E_ARG;
    sequence = newest == NO_SLOT ? 0 : sequence_of(s, newest) + 1;
    if (s->erase(s->ctx, slot))
        return VG_E_FLASH;
    if ((err = write_blob(s, slot, &m)) != 0)
        return err;
    return write_header(s, slot, &m, sequence);
}
