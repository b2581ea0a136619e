"""Copies on Thumb-2, wherever they lie and end."""

import numpy as np
import pytest
from test_dot_time import Code

TEXT = """\
#include "copy_thumb2.h"
void moved(const int16_t *from, uint32_t skip, uint32_t n, int16_t *to);

void moved(const int16_t *from, uint32_t skip, uint32_t n, int16_t *to)
{
    copy_thumb2(to + 1 + skip / 2, from + skip % 2, n);
}
"""


@pytest.fixture(scope="module", params=["m3", "m4", "m33"])
def code(request, tmp_path_factory):
    return Code(tmp_path_factory.mktemp("copy"), TEXT, request.param)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 9, 15, 16, 31, 32, 40])
def test_n_numbers_are_copied_and_no_more(code, n):
    given = np.arange(100, 150, dtype="<i2")
    for skip in range(4):
        found = code("moved", given, skip, n, np.full(50, -1, "<i2"))
        begin, first = 1 + skip // 2, skip % 2
        expected = np.full(50, -1, "<i2")
        expected[begin : begin + n] = given[first : first + n]
        assert found.tolist() == expected.tolist()
