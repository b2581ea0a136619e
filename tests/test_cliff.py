"""The error surface of one unit: against the recurrence, and what clipping does."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from pyvgrad.cliff import FIRST, STEPS, TARGET, descend, error_and_slope, surface

PNG = b"\x89PNG\r\n"


def s(x):
    return 1.0 / (1.0 + np.exp(-x))


def by_hand(w, b):
    """The error, from the recurrence; float64."""
    x = FIRST
    for _ in range(STEPS):
        x = w * s(x) + b
    return (s(x) - TARGET) ** 2


def test_the_surface_is_the_recurrence_run_for_50_steps():
    """Away from the wall, where float32 decides nothing."""
    w, b = np.linspace(3.0, 5.0, 5), np.linspace(-1.7, -1.0, 4)
    found = surface(w, b)
    expected = [[by_hand(u, v) for v in b] for u in w]
    np.testing.assert_allclose(found.error, expected, atol=1e-5)


def test_slopes_are_differences_of_the_recurrence():
    """Central differences with 1e-5; float32 gives four digits."""
    e = 1e-5
    for w, b in ((4.5, -2.0), (3.5, -1.5), (5.5, -2.0)):
        _, g = jax.jit(error_and_slope)(w, b)
        dw = (by_hand(w + e, b) - by_hand(w - e, b)) / (2 * e)
        db = (by_hand(w, b + e) - by_hand(w, b - e)) / (2 * e)
        assert float(g["w"]) == pytest.approx(dw, rel=1e-3, abs=1e-6)
        assert float(g["b"]) == pytest.approx(db, rel=1e-3, abs=1e-6)
        (slope,) = surface(np.array([w]), np.array([b])).slope.ravel()
        assert slope == pytest.approx(np.hypot(dw, db), rel=1e-3)


@pytest.mark.parametrize("w", [4.6, 5.0, 6.0, 7.0])
def test_the_wall_is_where_the_start_is_the_unstable_fixed_point(w):
    b = FIRST - w * s(FIRST)
    low, high = surface(np.array([w]), np.array([b - 0.02, b + 0.02])).error[0]
    assert low > 0.25
    assert high < 0.1


@pytest.mark.parametrize("theta", [0.03, 0.1, 1.0, 10.0])
def test_a_clipped_step_is_as_long_as_its_threshold_allows(theta):
    """Rate times theta where the gradient is longer, else rate times the gradient."""
    rate, starts = 0.3, np.array([[5.5, -2.0], [5.0, -2.2]])
    paths = descend(starts, rate, theta, 200)
    steps = np.linalg.norm(np.diff(paths.points, axis=0), axis=-1)
    expected = rate * np.minimum(paths.slope[:-1], theta)
    np.testing.assert_allclose(steps, expected, rtol=1e-2, atol=2e-6)
    assert (paths.slope > theta).any() or theta == 10.0
    np.testing.assert_array_equal(paths.points[0], starts.astype(np.float32))


def test_the_wall_throws_what_is_not_clipped():
    start = np.array([[5.5, -2.0]])
    free, clipped = (descend(start, 0.3, theta, 500) for theta in (None, 0.1))
    assert np.median(free.error[-100:]) > 0.08
    assert np.median(clipped.error[-100:]) < 0.01
    assert np.abs(np.diff(free.points, axis=0)).max() > 1.0
    foot = int(np.argmax(free.slope[:, 0] > 0.1))
    np.testing.assert_array_equal(free.points[:foot], clipped.points[:foot])


def test_the_lab_writes_what_it_says(pyvgrad, tmp_path):
    code, out, _ = pyvgrad("lab", "cliff", "-o", "here", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["files"] == [f"here/cliff.{end}" for end in ("md", "png", "json")]
    assert (tmp_path / "here/cliff.png").read_bytes().startswith(PNG)
    figures = json.loads((tmp_path / "here/cliff.json").read_text())
    assert figures["rows"] == found["rows"]
    kept = {row["theta"]: row["kept"] for row in found["rows"]}
    assert kept[None] < 0.7 * figures["starts"] < 0.9 * figures["starts"] <= kept[1.0]
    assert np.shape(figures["surface"]["error"]) == (31, 31)
    page = (tmp_path / "here/cliff.md").read_text()
    assert f"| clipped to 1 | {kept[1.0]}/{figures['starts']}" in page


def test_the_cliff_has_no_seeds(pyvgrad):
    code, _, err = pyvgrad("lab", "cliff", "--seeds", 3)
    assert code == 2
    assert "cliff has no --seeds" in err
