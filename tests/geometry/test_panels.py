"""Panels, and finding them in pixel positions."""

import numpy as np
import pytest

from xfelred.geometry.panels import Panel, find_panels, panel_positions

PITCH = 1e-4


def panel(module=0, slow=(0, 6), fast=(0, 8), corner=(0.0, 0.0, 0.1), **kwargs):
    steps = {"slow_step": (0.0, PITCH, 0.0), "fast_step": (PITCH, 0.0, 0.0)}
    return Panel(module, slow, fast, corner, **{**steps, **kwargs})


def test_centres_lie_half_a_pixel_from_the_corner():
    x, y, z = panel(corner=(1e-3, -2e-3, 0.1)).centres()
    for i in range(6):
        for j in range(8):
            assert x[i, j] == pytest.approx(1e-3 + (j + 0.5) * PITCH)
            assert y[i, j] == pytest.approx(-2e-3 + (i + 0.5) * PITCH)
    assert (z == 0.1).all()


def test_corners_surround_the_centre():
    p = panel()
    offsets = p.corners()[:, :2] - p.centres()[:2]
    assert offsets.shape == (4, 2, 6, 8)
    np.testing.assert_allclose(np.abs(offsets), PITCH / 2)
    np.testing.assert_allclose(offsets.sum(axis=0), 0, atol=1e-15)


def test_staggered_rows_are_shifted_by_half_a_pixel():
    x = panel(stagger=0.5).centres()[0]
    np.testing.assert_allclose(np.diff(x[:, 0]), [5e-5, -5e-5] * 2 + [5e-5], atol=1e-12)


def test_regular_hexagons_tile_the_plane():
    """Corners that meet coincide: row pitch sqrt(3)/2 of the column pitch."""
    height = PITCH * np.sqrt(3) / 2
    corners = panel(slow_step=(0.0, height, 0.0), stagger=0.5).corners()
    inner = np.round(corners[:, :2, 2, 3] / PITCH, 6)
    others = {
        tuple(c)
        for i, j in [(1, 3), (1, 4), (3, 3), (3, 4), (1, 2), (3, 2), (2, 2), (2, 4)]
        for c in np.round(corners[:, :2, i, j] / PITCH, 6)
    }
    assert all(tuple(c) in others for c in inner)


def test_pixels_outside_all_panels_have_no_position():
    positions = panel_positions([panel(slow=(0, 3), fast=(2, 8))], (1, 6, 8))
    assert np.isnan(positions[:, 0, 3:]).all()
    assert np.isnan(positions[:, 0, :, :2]).all()
    assert np.isfinite(positions[:, 0, :3, 2:]).all()


def turned(angle, **kwargs):
    c, s = np.cos(angle) * PITCH, np.sin(angle) * PITCH
    return panel(slow_step=(-s, c, 0.0), fast_step=(c, s, 0.0), **kwargs)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_panels_are_found_in_positions(dtype):
    given = [
        turned(0.01, fast=(0, 20), slow=(0, 16)),
        turned(0.01, fast=(20, 32), slow=(0, 16), corner=(23 * PITCH, 2e-6, 0.1)),
        turned(-1.5, module=1, fast=(0, 32), slow=(0, 16), corner=(0.05, 0.0, 0.1)),
    ]
    found = find_panels(panel_positions(given, (2, 16, 32)).astype(dtype))
    assert len(found) == len(given)
    for f, g in zip(found, given, strict=True):
        assert (f.module, f.slow, f.fast, f.stagger) == (g.module, g.slow, g.fast, 0.0)
        atol = 1e-9 if dtype is np.float64 else 2e-8
        np.testing.assert_allclose(f.corner, g.corner, rtol=0, atol=atol)
        np.testing.assert_allclose(f.fast_step, g.fast_step, rtol=0, atol=atol)


def test_hexagonal_panels_are_found_as_such():
    given = panel(slow=(0, 32), fast=(0, 40), stagger=0.5)
    (found,) = find_panels(panel_positions([given], (1, 32, 40)))
    assert found.stagger == 0.5
    np.testing.assert_allclose(found.corner, given.corner, atol=1e-12)


def test_irregular_positions_have_no_panels():
    rng = np.random.default_rng(1)
    positions = panel_positions([panel()], (1, 6, 8))
    assert find_panels(positions + rng.normal(0, PITCH, positions.shape)) == ()
    curved = positions.copy()
    curved[2] += curved[0] ** 2 * 1e3
    assert find_panels(curved) == ()


def test_one_row_of_pixels_is_not_a_panel():
    assert find_panels(panel_positions([panel(slow=(0, 1))], (1, 1, 8))) == ()
