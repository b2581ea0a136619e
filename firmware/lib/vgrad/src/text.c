/* text.c - errors in words, in a file of their own: who does not ask for
 * them does not link them.
 */
#include "vgrad.h"

const char *vg_err_text(int err)
{
    switch (err) {
    case VG_E_ARG:
        return "null pointer or value out of range";
    case VG_E_ALIGN:
        return "not aligned to 4 bytes, a slot to 8";
    case VG_E_SIZE:
        return "cut short, or the arena or buffer is too small";
    case VG_E_MAGIC:
        return "not a blob";
    case VG_E_FORMAT:
        return "a blob version, cell, shape or value this build lacks";
    case VG_E_CRC:
        return "the blob is damaged";
    case VG_E_STATE:
        return "a state of another model, or damaged";
    case VG_E_FLASH:
        return "the flash failed, or kept other bytes than were written";
    case VG_E_LAYOUT:
        return "learning takes weights in the layout rows alone: convert";
    default:
        return err < 0 ? "unknown error" : "no error";
    }
}
