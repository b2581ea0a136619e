"""The kernels from row to row of the gates, each on its own core, against NumPy."""

import numpy as np
import pytest
from test_dot_time import Code

TEXT = """\
#include "dot_rows.h"
void back(const int16_t *w, const int32_t *e, const uint32_t *size, int32_t *out);

void back(const int16_t *w, const int32_t *e, const uint32_t *size, int32_t *out)
{
    const uint32_t gates = size[0], n = size[1], stride = size[2], j = size[3];
    dot_rows r[5];

    out[4] = 1;
    for (uint32_t k = 0; k < gates; k++) {
        r[k].w = w + k * n * stride;
        r[k].e = e + k * n;
        r[k].rows = n;
        r[k].stride = stride;
        r[k].shift = (int)size[4 + k];
#ifdef DOT_ROWS_SUMS
        out[4] &= DOT_ROWS_FIT(&r[k]);
#endif
    }
#ifdef DOT_ROWS_SUMS
    out[5] = DOT_ROWS_COLUMNS;
    out[4] = out[4] && DOT_ROWS_SUMS(r, r + gates, j, out);
#else
    out[5] = 3;
    for (uint32_t k = 0; k < gates; k++) {
        int64_t sum[3] = {0, 0, 0};
        dot_rows_c(&r[k], j, 3, sum);
        for (int i = 0; i < 3; i++)
            out[i] += fx_to31(sum[i], r[k].shift);
    }
#endif
}
"""
PACKED = """\
#include "dot_rows.h"
void back(const int16_t *w, int32_t *e, const uint32_t *size, int32_t *out);

/* out[n]; behind it room for what is packed, and whether all fits */
void back(const int16_t *w, int32_t *e, const uint32_t *size, int32_t *out)
{
    const uint32_t rows = size[0], stride = size[1], n = size[2], room = size[4];
    dot_rows_halves h;
    uint32_t *to;

    h.e = e;
    h.cut = (uint32_t *)out + n;
    h.cut_end = h.cut + dot_rows_fours(rows);
    h.w = to = h.cut_end;
    h.out = out;
    h.end = out + n;
    h.shift = (int)size[3];
    for (uint32_t j = 0; j < n; j += 2)
        to = dot_rows_pack(w + j, rows, stride, to);
    dot_rows_clear_q();
    dot_rows_dsp_gate(&h);
    out[room - 1] = !dot_rows_q();
}
"""


@pytest.fixture(scope="module", params=["host", "avx2", "m0", "m3", "m4", "m33"])
def code(request, tmp_path_factory):
    """(The core, the kernel that it has.)"""
    folder = tmp_path_factory.mktemp("rows")
    return request.param, Code(folder, TEXT, request.param)


def check(code, w, e, j, shifts):
    """Of w (gates, rows, stride) and e (gates, rows): did the kernel take it?"""
    core, kernel = code
    gates, n, stride = w.shape
    size = np.array([gates, n, stride, j, *shifts], "<u4")
    found = kernel("back", w.astype("<i2"), e.astype("<i4"), size, np.zeros(6, "<i4"))
    columns = found[5]
    exact = np.einsum("grj,gr->gj", w[:, :, j : j + columns], e)
    half = (1 << np.array(shifts)) >> 1
    parts = (exact + half[:, None]) >> np.array(shifts)[:, None]
    if found[4]:
        assert found[:columns].tolist() == parts.sum(0).tolist()
        return True
    high = np.abs(e >> 10)
    pieces = max(high[:, k : k + 64].sum(1).max() for k in range(0, n, 64))
    assert core != "host"
    assert (
        np.abs(parts).max() >= 1 << 26
        or min(shifts) < 5
        or (core == "m0" and pieces >= 65536 - 64)
    )
    return False


@pytest.mark.parametrize("top", [1, 1 << 10, 1 << 17, 1 << 22])
def test_errors_of_any_gates_come_back_rounded(code, top):
    rng = np.random.default_rng(top)
    for n in (1, 2, 3, 4, 5, 7, 8, 16, 33, 64, 65, 130):
        for gates in (1, 4):
            w = rng.integers(-32768, 32768, (gates, n, 12))
            e = rng.integers(-top, top + 1, (gates, n))
            shifts = rng.integers(11, 18, gates).tolist()
            taken = check(code, w, e, int(rng.integers(0, 9)), shifts)
            assert taken or top * n >= 1 << 22


def test_what_does_not_fit_is_refused_before_it_is_wrong(code):
    if code[0] == "host":
        pytest.skip("has no kernel")
    rng = np.random.default_rng(3)
    refused = 0
    for shift in (1, 4, 5, 11, 20, 31):
        for bits in range(8, 31):
            e = rng.integers(-(1 << bits), 1 << bits, (2, 9))
            e[0] = (1 << bits) - 1
            for w in (np.full((2, 9, 8), -32768), np.full((2, 9, 8), 32767)):
                refused += not check(code, w, e, 1, [shift, 12])
                refused += not check(code, -w - 1, e, 1, [shift, 12])
    assert refused


ALL = """\
#include "dot_rows.h"
void all(const int16_t *w, const int32_t *e, const uint32_t *size, int32_t *out);

/* size: gates, rows, stride, n, shifts; out: dz[n], and how many were done */
void all(const int16_t *w, const int32_t *e, const uint32_t *size, int32_t *out)
{
    dot_rows r[4];

    for (uint32_t k = 0; k < size[0]; k++) {
        r[k].w = w + k * size[1] * size[2];
        r[k].e = e + k * size[1];
        r[k].rows = size[1];
        r[k].stride = size[2];
        r[k].shift = (int)size[4 + k];
    }
    out[size[3]] = (int32_t)DOT_ROWS_ALL(r, r + size[0], size[3], out);
}
"""
MOST = 2**31 - 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The kernel that takes all columns."""
    return Code(tmp_path_factory.mktemp("all"), ALL, "avx2")


def check_all(whole, w, e, n, shifts, dz):
    """Of w (gates, rows, stride), e (gates, rows), dz (n): how many columns it did."""
    gates, rows, stride = w.shape
    size = np.array([gates, rows, stride, n, *shifts], "<u4")
    out = np.array([*dz, 77], "<i4")
    found = whole("all", w.astype("<i2"), e.astype("<i4"), size, out)
    exact = np.einsum("grj,gr->gj", w[:, :, :n], e)
    half = (1 << np.array(shifts)) >> 1
    parts = (exact + half[:, None]) >> np.array(shifts)[:, None]
    done = int(found[n])
    moved = np.clip(dz[:done] + parts.sum(0)[:done], -MOST, MOST)
    assert found[:n].tolist() == [*moved, *dz[done:]]
    return done


@pytest.mark.parametrize("bits", [1, 12, 18, 20])
def test_all_columns_of_gates_at_once(whole, bits):
    rng = np.random.default_rng(bits)
    top = 1 << bits
    for rows in (1, 2, 7, 8, 9, 16, 33, 64, 65, 128):
        for n in (8, 9, 15, 16, 17, 24, 31, 45):
            w = rng.integers(-4096, 4097, (4, rows, n + n % 4))
            e = rng.integers(-top, top + 1, (4, rows))
            dz = rng.integers(-MOST, MOST + 1, n)
            dz[::3] >>= 8
            shifts = rng.integers(12, 16, 4).tolist()
            done = check_all(whole, w, e, n, shifts, dz)
            assert done == n or top * rows > 1 << 26


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 128])
@pytest.mark.parametrize("shift", [17, 18, 19, 22, 31])
def test_all_columns_of_small_weights(whole, rows, shift):
    rng = np.random.default_rng(shift)
    done = []
    for bits in range(8, 32):
        e = rng.integers(-(1 << bits), 1 << bits, (2, rows))
        e[0, 0] = MOST if bits == 31 else e[0, 0]
        w = rng.integers(-32767, 32768, (2, rows, 24))
        shifts = [shift, max(shift - 1, 18)]
        done.append(check_all(whole, w, e, 23, shifts, np.zeros(23, int)))
    assert 23 in done


def test_of_all_columns_none_is_wrong_where_sums_are_large(whole):
    rng = np.random.default_rng(1)
    done = []
    for shift in (1, 8, 9, 11, 13, 20, 31, 32):
        for bits in (14, 20, 22, 23, 24, 26, 27, 30, 31):
            rows = int(rng.choice([1, 2, 4, 5, 8, 31, 32, 64, 128, 129]))
            e = np.full((3, rows), (1 << bits) - 1)
            e[1:] *= rng.choice([-1, 1], (2, rows))
            e[2, 1:] = 0
            for w in (-32767, 32767):
                weights = np.full((3, rows, 24), w)
                weights[1] *= np.where(e[1] < 0, -1, 1)[:, None]
                dz = np.zeros(23, int)
                shifts = [shift, max(shift - 1, 1), shift]
                done.append(check_all(whole, weights, e, 23, shifts, dz))
    assert set(done) == {0, 23}


@pytest.fixture(scope="module", params=["m4", "m7", "m33"])
def packed(request, tmp_path_factory):
    """The kernel of packed weights."""
    return Code(tmp_path_factory.mktemp("packed"), PACKED, request.param)


def packed_agrees(packed, w, e, shift):
    """Of w (rows, n) and e (rows): did it fit?"""
    rows, n = w.shape
    behind = np.full(4, 2**31 - 1 if e.max() > 2**25 else 99)  # whatever
    old = np.arange(n) * 1000 - 3000
    room = n + (rows + 3) // 4 * (4 + 2 * n) + 2
    out = np.concatenate([old, np.full(room - n, 77)]).astype("<i4")
    spaced = np.full((rows, n + 3), 555, "<i2")
    spaced[:, :n] = w
    size = np.array([rows, n + 3, n, shift, room], "<u4")
    found = packed("back", spaced, np.concatenate([e, behind]).astype("<i4"), size, out)
    exact = w.T.astype(np.int64) @ e.astype(np.int64)
    if found[-1]:
        assert (
            found[:n].tolist()
            == (old + ((exact + (1 << shift >> 1)) >> shift)).tolist()
        )
    assert found[-2] == 77
    return bool(found[-1])


@pytest.mark.parametrize("rows", [4, 5, 6, 7, 8, 11, 16, 20, 33, 64])
def test_packed_weights_give_what_the_others_give(packed, rows):
    rng = np.random.default_rng(rows)
    for n in (2, 4, 10):
        for shift in (11, 12, 15, 31):
            w = rng.integers(-32767, 32768, (rows, n))
            e = rng.integers(-(1 << 19), 1 << 19, rows)
            assert packed_agrees(packed, w, e, shift)
            assert packed_agrees(packed, w, np.full(rows, 1023), shift)
            assert packed_agrees(packed, w, np.full(rows, -1), shift)


def test_packed_sums_that_do_not_fit_are_noticed(packed):
    rng = np.random.default_rng(7)
    fitted = []
    for bits in range(18, 31):
        for sign in (-1, 1):
            e = sign * rng.integers(1 << (bits - 1), 1 << bits, 12)
            alone = np.where(np.arange(12) == 9, e, 0)
            for w in (np.full((12, 2), -32767), np.full((12, 2), 32767)):
                fitted.append(packed_agrees(packed, w, e, 11))
                fitted.append(packed_agrees(packed, w // 7, alone, 12))
    assert 10 < sum(fitted) < len(fitted) - 10
