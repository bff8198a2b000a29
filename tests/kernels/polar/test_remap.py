"""Polar tables and loops against a loop over samples, one at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xfelred.kernels.polar import grid as polar_grid
from xfelred.kernels.polar import remap as polar
from xfelred.kernels.polar import tables as polar_tables
from xfelred.kernels.polar.moving import Sampling, remap_polar_moving
from xfelred.kernels.polar.tables import PixelFinder, module_linear_table

SHAPE = (13, 17)
CENTRE = (7.3, 5.9)
RADII = np.array([0.0, 1.5, 4.0, 6.2, 9.0, 14.0])
N_PHI = 23


def positions():
    x, y = polar_grid.sample_positions(RADII, N_PHI)
    return CENTRE[0] + x, CENTRE[1] + y


def images(dtype=np.float32, n=3):
    return np.random.default_rng(0).poisson(20, (n, *SHAPE)).astype(dtype)


def slow_nearest(image, x, y):
    column, row = math.ceil(x - 0.5), math.ceil(y - 0.5)
    inside = 0 <= column < image.shape[1] and 0 <= row < image.shape[0]
    return image[row, column] if inside else math.nan


def slow_linear(image, x, y, min_weight=0.0):
    total = weights = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if not (0 <= column < image.shape[1] and 0 <= row < image.shape[0]):
                continue
            weight = (1 - abs(x - column)) * (1 - abs(y - row))
            if not math.isnan(image[row, column]):
                total += weight * image[row, column]
                weights += weight
    return total / weights if weights > 0 and weights >= min_weight else math.nan


def slow(function, frames, x, y, **options):
    return np.array(
        [
            [[function(f, *at, **options) for at in zip(*p, strict=True)]
             for p in zip(x, y, strict=True)]
            for f in frames.astype(float)
        ]
    )  # fmt: skip


def remap(frames, table, *masks, min_weight=0.0):
    return polar.remap_polar(
        frames, table.reshape(1, 1, 1), *masks, n_core=2,
        shape=(len(RADII), N_PHI), min_weight=min_weight,
    )  # fmt: skip


def tables(dtype=np.float64):
    x, y = positions()
    index = polar_tables.nearest_index(x, y, SHAPE)
    return {
        slow_nearest: polar_tables.nearest_table(index, None),
        slow_linear: polar_tables.linear_table(x, y, SHAPE, None, dtype),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16, np.int8, bool])
def test_samples_are_those_of_a_loop(dtype):
    frames = images(dtype)
    for function, table in tables().items():
        got = remap(frames, table)
        assert got.dtype == (np.float64 if dtype == np.float64 else np.float32)
        expected = slow(function, frames, *positions())
        np.testing.assert_allclose(got, expected, rtol=1e-6)
        assert np.isnan(expected).any()
        assert np.isfinite(expected).any()


@pytest.mark.parametrize("min_weight", [0.0, 0.6, 1.0])
def test_nan_bad_and_masked_pixels_are_left_out_alike(min_weight):
    frames = images()
    bad = np.random.default_rng(1).random((3, *SHAPE)) < 0.3
    hidden = np.where(bad, np.nan, frames)
    x, y = positions()
    linear = tables()[slow_linear]
    expected = slow(slow_linear, hidden, x, y, min_weight=min_weight)
    for block, masks in ((hidden, ()), (frames, (bad,)), (frames, (bad * 4,))):
        got = remap(block, linear, *masks, min_weight=min_weight)
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    nearest = tables()[slow_nearest]
    expected = slow(slow_nearest, hidden, x, y)
    np.testing.assert_array_equal(remap(hidden, nearest), expected)
    np.testing.assert_array_equal(remap(frames, nearest, bad), expected)


def test_good_pixels_of_a_table_are_those_of_a_mask():
    frames, (x, y) = images(), positions()
    bad = np.random.default_rng(2).random(SHAPE) < 0.3
    good = ~bad.ravel()
    index = polar_tables.nearest_index(x, y, SHAPE)

    def find(dx, dy):
        return polar_tables.nearest_index(CENTRE[0] + dx, CENTRE[1] + dy, SHAPE)

    pairs = [
        (polar_tables.nearest_table(index, g) for g in (good, None)),
        (polar_tables.linear_table(x, y, SHAPE, g, np.float64) for g in (good, None)),
        (polar_tables.area_table(RADII, N_PHI, find, g) for g in (good, None)),
    ]
    for with_good, without in pairs:
        for min_weight in (0.0, 0.5):
            np.testing.assert_array_equal(
                remap(frames, with_good, min_weight=min_weight),
                remap(frames, without, bad[None], min_weight=min_weight),
            )


def test_a_plane_is_interpolated_exactly():
    x, y = positions()
    rows, columns = np.indices(SHAPE)
    frames = (3.0 * columns - 2.0 * rows + 7.0)[None]
    got = remap(frames, tables()[slow_linear])[0]
    inside = (x >= 0) & (x <= SHAPE[1] - 1) & (y >= 0) & (y <= SHAPE[0] - 1)
    np.testing.assert_allclose(got[inside], (3 * x - 2 * y + 7)[inside], rtol=1e-12)


def test_halves_go_to_the_lower_pixel():
    x = np.array([-0.5, 0.5, 1.5, 2.5, 15.5, 16.5, 16.51])
    found = polar_tables.nearest_index(x, np.zeros(7), SHAPE)
    np.testing.assert_array_equal(found, [-1, 0, 1, 2, 15, 16, -1])


def test_area_is_the_mean_over_the_cell_and_keeps_the_total():
    """Cells of whole rings tile the disc: a fine map of an image has its total."""
    rows, columns = np.indices((40, 40))
    image = np.exp(-((columns - 21.0) ** 2 + (rows - 18.5) ** 2) / 40)[None]
    radii, n_phi = np.arange(0.5, 16.5), 12

    def find(dx, dy):
        return polar_tables.nearest_index(19.7 + dx, 20.2 + dy, (40, 40))

    table = polar_tables.area_table(radii, n_phi, find, None)
    got = polar.remap_polar(
        image, table.reshape(1, 1, 1), n_core=2, shape=(16, n_phi), min_weight=0.0
    )[0]
    areas = 2 * np.pi * radii / n_phi
    r = np.hypot(columns - 19.7, rows - 20.2)
    expected = image[0][r < 16].sum()
    assert (got * areas[:, None]).sum() == pytest.approx(expected, rel=5e-3)


@settings(max_examples=50, deadline=None)
@given(st.floats(-60, 60), st.floats(-60, 60), st.floats(0, 40), st.integers(1, 9))
def test_nothing_ever_wraps(x, y, radius, n_phi):
    """A sample of the index image is the flat index of its own pixel, or NaN."""
    dx, dy = polar_grid.sample_positions(np.array([radius]), n_phi)
    at = polar_tables.nearest_index(x + dx, y + dy, SHAPE)[0]
    for found, px, py in zip(at, (x + dx)[0], (y + dy)[0], strict=True):
        if found < 0:
            assert not (0 <= px <= SHAPE[1] - 1 and 0 <= py <= SHAPE[0] - 1)
        else:
            row, column = divmod(int(found), SHAPE[1])
            assert abs(column - px) <= 0.5 + 1e-9
            assert abs(row - py) <= 0.5 + 1e-9


@pytest.mark.parametrize("method", ["nearest", "linear", "area"])
@pytest.mark.parametrize("signs", [(1, 1), (-1, 1)])
def test_every_frame_may_have_a_centre_of_its_own(method, signs):
    frames = images(np.float64)
    bad = np.random.default_rng(3).random((3, *SHAPE)) < 0.1
    centres = np.array([[7.3, 5.9], [8.1, 6.4], [np.nan, 1.0]])
    got = remap_polar_moving(
        frames, polar.record_of(radius=RADII).reshape(1, 1, 1),
        *centres.T.reshape(2, 3, 1, 1), np.zeros((1, 1, 1)), bad,
        n_core=2, sampling=Sampling(N_PHI, method, 0.0, signs, 0.3),
    )  # fmt: skip
    assert np.isnan(got[2]).all()
    dx, dy = polar_grid.sample_positions(RADII, N_PHI)
    for i in range(2):
        cx, cy = centres[i]

        def find(x, y, cx=cx, cy=cy):
            return polar_tables.nearest_index(cx + signs[0] * x, cy + y, SHAPE)

        x, y = cx + signs[0] * dx, cy + dy
        table = {
            "nearest": lambda x=dx, y=dy, f=find: polar_tables.nearest_table(
                f(x, y), None
            ),
            "linear": lambda x=x, y=y: polar_tables.linear_table(
                x, y, SHAPE, None, float
            ),
            "area": lambda f=find: polar_tables.area_table(RADII, N_PHI, f, None),
        }[method]()
        expected = remap(frames[i : i + 1], table, bad[i : i + 1], min_weight=0.3)[0]
        np.testing.assert_allclose(got[i], expected, rtol=1e-5)


def turned(angle, shape=(2, 9, 11)):
    """Two modules of 9 x 11 pixels, turned, with a gap of 3 pixels between them."""
    module, row, column = np.indices(shape).astype(float)
    x, y = column - 4.3, row - 10.6 + 12 * module
    return x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)


@pytest.mark.parametrize("angle", [0.0, 0.3, 2.0])
def test_pixels_of_modules_are_found_by_position(angle):
    x, y = turned(angle)
    finder = PixelFinder(x, y, (0.0, 12.0))
    dx, dy = polar_grid.sample_positions(RADII, N_PHI)
    got = finder.nearest(dx, dy)
    distance = np.hypot(
        x.ravel()[:, None] - dx.ravel(), y.ravel()[:, None] - dy.ravel()
    )
    expected = np.where(distance.min(axis=0) <= 0.75, distance.argmin(axis=0), -1)
    near_tie = np.diff(np.sort(distance, axis=0)[:2], axis=0)[0] < 1e-9
    same = got.ravel() == expected
    assert (same | near_tie).all()
    assert (got < 0).any()


@pytest.mark.parametrize("angle", [0.0, 0.3, 2.0])
def test_interpolation_stays_inside_a_module(angle):
    x, y = turned(angle)
    finder = PixelFinder(x, y, (0.0, 12.0))
    dx, dy = polar_grid.sample_positions(RADII, N_PHI)
    # A plane on each module, with a step between the modules.
    values = (2 * x - y + 100 * np.arange(2)[:, None, None])[None]
    table = module_linear_table(finder, dx, dy, None, np.float64)
    got = polar.remap_polar(
        values, table.reshape(1, 1, 1, 1), n_core=3, shape=dx.shape, min_weight=0.0
    )[0]
    nearest = finder.nearest(dx, dy)
    np.testing.assert_array_equal(np.isnan(got), nearest < 0)
    # Where all four pixels are there the plane is exact.
    whole = polar.remap_polar(
        values, table.reshape(1, 1, 1, 1), n_core=3, shape=dx.shape, min_weight=1 - 1e-9
    )[0]
    module = np.maximum(nearest, 0) // 99
    inside = np.isfinite(whole)
    assert inside.sum() >= 30
    expected = 2 * dx - dy + 100 * module
    np.testing.assert_allclose(whole[inside], expected[inside], atol=1e-9)


def test_a_geometry_without_pixels_near_gives_nan():
    finder = PixelFinder(np.full((1, 2, 2), np.nan), np.zeros((1, 2, 2)), (0.0, 5.0))
    assert (finder.nearest(np.zeros(3), np.zeros(3)) == -1).all()


def test_no_sample_on_the_image_gives_nan():
    frames = images(n=1)

    def find(x, y):
        return polar_tables.nearest_index(x - 500, y - 500, SHAPE)

    dx, dy = polar_grid.sample_positions(RADII, N_PHI)
    for table in (
        polar_tables.nearest_table(find(dx, dy), None),
        polar_tables.linear_table(dx - 500, dy - 500, SHAPE, None, np.float32),
        polar_tables.area_table(RADII, N_PHI, find, None),
    ):
        assert np.isnan(remap(frames, table)).all()


def test_radius_and_q_are_inverse_up_to_90_degrees():
    radius = np.linspace(0, 3000, 50)
    q = polar_grid.radius_to_q(radius, 1e-3, 1.3)
    np.testing.assert_allclose(polar_grid.q_to_radius(q, 1e-3, 1.3), radius, atol=1e-9)
    beyond = 4 * np.pi / 1.3 * np.array([np.sin(np.pi / 4), 0.9, 1.5, -0.1, np.nan])
    assert np.isnan(polar_grid.q_to_radius(beyond, 1e-3, 1.3)).all()
