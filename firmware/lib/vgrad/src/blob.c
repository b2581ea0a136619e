/* blob.c - check a blob.  BLOB.md is the format. */
#include <string.h>

#include "core.h"

enum {
    MAX_LAYERS = 255,
    MAX_OUT = 32767,
    MAX_SCALING_SHIFT = 47,
    MAX_COUNT_EXP = 30
};

/* CRC-32, reflected 0xEDB88320, four bits a turn. */
uint32_t vg_crc32(const uint8_t *p, uint32_t n)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4,
        0x4DB26158, 0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
        0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C};
    uint32_t crc = 0xFFFFFFFF;
    while (n--) {
        crc ^= *p++;
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return ~crc;
}

uint32_t vg_blob_crc(const vg_model *m)
{
    return get32(m->blob + m->size - 4);
}

uint32_t vg_image_size(const vg_layer *l)
{
    return 4 * l->n_c + ((2 * l->n_r + 3) & ~(uint32_t)3);
}

/* Every c within +-2^30, and zeros in the padding. */
VG_ONCE int vg_image_ok(const vg_layer *l, const uint8_t *image)
{
    for (uint32_t k = 0; k < l->n_c; k++) {
        const uint32_t c = get32(image + 4 * (size_t)k);
        if (c > 0x40000000 && c < 0xC0000000)
            return 0;
    }
    for (uint32_t k = 4 * l->n_c + 2 * l->n_r; k < vg_image_size(l); k++)
        if (image[k])
            return 0;
    return 1;
}

/* |w| <= 2^(bits-1) - 1, and zeros where rows and columns are padded. */
static int weights_ok(const uint8_t *blob, const vg_map *m)
{
    const int32_t least = -((int32_t)1 << (vg_bits_of(m) - 1));

    for (uint32_t row = 0; row < vg_padded_rows(m); row++)
        for (uint32_t j = 0; j < vg_stride(m); j++) {
            const int32_t w = vg_weight(blob, m, row, j);
            if (w == least || ((j >= m->columns || row >= m->rows) && w))
                return 0;
        }
    return 1;
}

static int scaling_ok(const vg_model *m)
{
    const uint8_t *p = m->blob + VG_HEADER;

    for (uint32_t k = 0; k < m->n_in; k++, p += VG_CHANNEL)
        if (p[6] > MAX_SCALING_SHIFT || p[7])
            return 0;
    return 1;
}

static int is_letter(uint8_t c)
{
    return (c | 32) >= 'a' && (c | 32) <= 'z';
}

/* Sections up to the CRC: unknown ones are skipped if they are optional. */
static int check_sections(vg_walk *w)
{
    while (w->at < w->end) {
        uint32_t at, data;
        int err = vg_walk_skip(w, 8, 1, &at);
        if (err)
            return err;
        for (uint32_t k = 0; k < 4; k++)
            if (!is_letter(w->blob[at + k]))
                return VG_E_FORMAT;
        if (!(w->blob[at] & 32))
            return VG_E_FORMAT; /* critical, and version 1 knows none */
        err = vg_walk_skip(w, get32(w->blob + at + 4), 1, &data);
        if (err)
            return err;
    }
    return VG_OK;
}

/* All records after the header; sizes what a saved state takes. */
static int check_records(vg_model *m)
{
    vg_walk w = vg_walk_start(m);
    vg_layer l;
    vg_readout r;
    int err;

    if (w.at > w.end)
        return VG_E_SIZE;
    if ((m->blob[VG_AT_FLAGS] & VG_HAS_SCALING) && !scaling_ok(m))
        return VG_E_FORMAT;
    m->state_size = VG_STATE_HEADER; /* in the end < 255 * 2^20 */
    for (uint32_t k = 0; k < m->n_layers; k++) {
        if ((err = vg_walk_layer(&w, &l)) != 0)
            return err;
        for (uint32_t gate = 0; gate < l.n_gates; gate++)
            if (!weights_ok(w.blob, &l.gate[gate]))
                return VG_E_FORMAT;
        if (l.direction != VG_FORWARD)
            m->whole = 1;
        m->state_size += vg_image_size(&l);
    }
    if (w.n_half)
        return VG_E_FORMAT;
    m->y_exp = m->logit_exp = l.h_exp;
    m->output = VG_LINEAR;
    if (vg_has_readout(m)) {
        if ((err = vg_walk_readout(&w, m, &r)) != 0)
            return err;
        if (!weights_ok(w.blob, &r.map))
            return VG_E_FORMAT;
        m->output = (uint8_t)r.output;
        m->logit_exp = r.map.arg_exp;
        m->y_exp = r.output == VG_LINEAR ? r.map.arg_exp : VG_MAX_EXP;
    } else if (m->n_out != w.n_in ||
               (l.direction == VG_HALF_REVERSE && w.half_exp != l.h_exp)) {
        return VG_E_FORMAT;
    }
    return check_sections(&w);
}

static int check_header(const uint8_t *p)
{
    const uint32_t n_layers = get16(p + VG_AT_N_LAYERS);
    const uint32_t n_in = get16(p + VG_AT_N_IN), n_out = get16(p + VG_AT_N_OUT);
    const uint32_t bits = p[VG_AT_BITS], flags = p[VG_AT_FLAGS];

    if (!n_layers || n_layers > MAX_LAYERS || !n_in || !n_out ||
        n_out > MAX_OUT)
        return VG_E_FORMAT;
    if ((bits != 8 && bits != 16) || !VG_HAS_WEIGHTS(bits) ||
        p[VG_AT_LAYOUT] > VG_WORDS || !VG_HAS_LAYOUT(p[VG_AT_LAYOUT]) ||
        p[VG_AT_MODE] > VG_FINAL || p[VG_AT_X_EXP] > VG_MAX_EXP ||
        p[VG_AT_COUNT_EXP] > MAX_COUNT_EXP ||
        flags > (VG_HAS_SCALING | (VG_HAS_OUTPUTS ? VG_HAS_READOUT : 0)) ||
        get16(p + VG_AT_RESERVED))
        return VG_E_FORMAT;
    if (!(flags & VG_HAS_SCALING) && p[VG_AT_COUNT_EXP] != p[VG_AT_X_EXP])
        return VG_E_FORMAT;
    return VG_OK;
}

VG_ONCE int vg_model_open(vg_model *m, const void *blob, uint32_t size)
{
    const uint8_t *p = blob;
    vg_model found;
    uint32_t own;
    int err;

    if (!m || !blob)
        return VG_E_ARG;
    if ((uintptr_t)blob % 4)
        return VG_E_ALIGN;
    if (size < VG_HEADER + 4)
        return VG_E_SIZE;
    if (memcmp(p, "VGRD", 4) != 0)
        return VG_E_MAGIC;
    if (get16(p + VG_AT_VERSION) != VG_BLOB_VERSION)
        return VG_E_FORMAT;
    own = get32(p + VG_AT_SIZE);
    if (own > size || own < VG_HEADER + 4 || own % 4)
        return VG_E_SIZE;
    if (vg_crc32(p, own - 4) != get32(p + own - 4))
        return VG_E_CRC;
    if ((err = check_header(p)) != 0)
        return err;
    memset(&found, 0, sizeof found);
    found.blob = p;
    found.size = own;
    found.n_in = (uint16_t)get16(p + VG_AT_N_IN);
    found.n_out = (uint16_t)get16(p + VG_AT_N_OUT);
    found.n_layers = (uint16_t)get16(p + VG_AT_N_LAYERS);
    found.mode = p[VG_AT_MODE];
    found.x_exp = p[VG_AT_X_EXP];
    if ((err = check_records(&found)) != 0)
        return err;
    *m = found;
    return VG_OK;
}

int vg_model_scale(const vg_model *m, const int32_t *count, vg_sig *x)
{
    const uint8_t *p = m->blob + VG_HEADER;
    const int scaled = m->blob[VG_AT_FLAGS] & VG_HAS_SCALING;
    fx_clamps k = {0, 0};

    for (uint32_t j = 0; j < m->n_in; j++) {
        int64_t v = count[j];
        if (scaled) {
            const int shift = p[6];
            v = (v - (int32_t)get32(p)) * (int16_t)get16(p + 4);
            v = shift ? fx_rs(v, shift) : v;
            p += VG_CHANNEL;
        }
        x[j] = fx_sat16(v, &k);
    }
    return (int)(k.low + k.high);
}
