/* words.c - maps in the layout words (BLOB.md): a word has one column of two
 * rows of 16 bits or of four of 8.  Their kernels want z as int32, in blocks of
 * VG_BLOCK columns, each behind its sum.
 */
#include "core.h"
#include "dot.h"

/* Where the next column goes, and its block's sum. */
typedef struct {
    int32_t *sum, *at;
    uint32_t left; /* columns of the block */
} cursor;

/* n columns from z; null: zeros. */
static void put(cursor *c, const vg_sig *z, uint32_t n)
{
    while (n) {
        uint32_t run;
        int32_t sum, *at;
        if (!c->left) {
            c->sum = c->at++;
            *c->sum = 0;
            c->left = VG_BLOCK;
        }
        run = n < c->left ? n : c->left;
        sum = *c->sum;
        at = c->at;
        for (uint32_t k = run; k; k--)
            sum += *at++ = z ? *z++ : 0;
        *c->sum = sum;
        c->at = at;
        c->left -= run;
        n -= run;
    }
}

vg_wide vg_words_widen(int32_t *to, const vg_sig *z1, uint32_t n1,
                       const vg_sig *z2, uint32_t n2)
{
    const uint32_t skipped = z1 ? 0 : n1 & ~(uint32_t)3;
    const uint32_t n = (z2 ? n1 + n2 : n1) - skipped;
    cursor c = {NULL, NULL, 0};
    vg_wide w;

    c.at = to;
    put(&c, z1, n1 - skipped);
    if (z2)
        put(&c, z2, n2);
    put(&c, NULL, -n & 3);
    w.z = to;
    w.end = c.at;
    w.from = skipped;
    w.n = (n + 3) & ~(uint32_t)3;
    return w;
}

void vg_words_add(const uint8_t *blob, const vg_map *m, const vg_wide *wide,
                  uint32_t row, int64_t *sum)
{
    const uint8_t *at = blob + m->weights + row * vg_stride(m) * (m->bits / 8u);
    const uint32_t *w = (const uint32_t *)(const void *)at + wide->from;
    const int32_t *z = wide->z;

    for (uint32_t left = wide->n; left;) {
        const uint32_t n = left < VG_BLOCK ? left : VG_BLOCK;
        if (m->bits == 8)
            DOT_WORDS8(w, z + 1, n, sum);
        else
            DOT_WORDS16(w, z + 1, n, sum);
        w += n;
        z += n + 1;
        left -= n;
    }
}
