"""Spots that were put on smooth rings are found, and nothing else."""

import numpy as np
import pytest
import xarray as xr

from xfelred.errors import GeometryMismatchError
from xfelred.ops import find_ring_spots, remove_ring_spots

N_PHI = 121
DIMS = ("train", "radius", "phi")
SPOTS = ((0, 1, 40), (0, 1, 0), (1, 2, 120), (3, 0, 77))


def polar(noise=1.0, spots=SPOTS, height=60.0):
    rng = np.random.default_rng(0)
    phi = 2 * np.pi * np.arange(N_PHI) / N_PHI
    smooth = 100 + 30 * np.cos(phi) + 10 * np.sin(3 * phi)
    values = smooth + noise * rng.normal(size=(5, 3, N_PHI))
    for at in spots:
        values[at] += height
    return xr.DataArray(values.astype(np.float32), dims=DIMS)


def expected(grow, spots=SPOTS):
    out = np.zeros((5, 3, N_PHI), bool)
    for shot, ring, at in spots:
        out[shot, ring, np.arange(at - grow, at + grow + 1) % N_PHI] = True
    return out


@pytest.mark.parametrize("grow", [0, 1, 3])
@pytest.mark.parametrize("per_chunk", [1, 3, 5])
def test_spots_are_found_and_grow_around_the_circle(grow, per_chunk, no_compute):
    da = polar().chunk(train=per_chunk)
    with no_compute():
        found = find_ring_spots(da, threshold=8, grow=grow)
        clean = remove_ring_spots(da, threshold=8, grow=grow)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, expected(grow))
    np.testing.assert_array_equal(clean, polar().where(~expected(grow)))
    assert clean.dtype == np.float32


def test_the_smooth_part_is_not_a_spot():
    da = polar(spots=())
    flagged = find_ring_spots(da, threshold=3.5, grow=0)
    assert float(flagged.mean()) < 5e-3
    # Without harmonics its crest would be.
    tight = find_ring_spots(polar(0.01, ()), threshold=3.5, n_harmonics=0, grow=0)
    loose = find_ring_spots(polar(0.01, ()), threshold=8, n_harmonics=4, grow=0)
    assert int(loose.sum()) == 0
    assert tight.dims == loose.dims


def test_holes_are_found_as_well():
    found = find_ring_spots(polar(height=-60.0), threshold=8, grow=0)
    np.testing.assert_array_equal(found, expected(0))


def test_bad_samples_stay_bad_and_do_not_count():
    da = polar()
    bad = np.zeros((3, N_PHI), bool)
    bad[:, 30:60] = True
    spoiled = da.where(~bad, 1e6)
    found = find_ring_spots(spoiled, threshold=8, grow=0, bad_pixels=bad)
    np.testing.assert_array_equal(found, expected(0) | bad)
    nan = find_ring_spots(da.where(~bad), threshold=8, grow=0)
    np.testing.assert_array_equal(nan, found)
    clean = remove_ring_spots(spoiled, threshold=8, grow=0, bad_pixels=bad)
    np.testing.assert_array_equal(np.isnan(clean), expected(0) | bad)


def test_equal_values_do_not_divide_by_zero():
    da = polar(0.0, ()) * 0 + 5.0
    assert int(find_ring_spots(da).sum()) == 0
    da[2, 1, 7] = 6.0
    found = find_ring_spots(da, grow=0)
    np.testing.assert_array_equal(np.argwhere(found.values), [[2, 1, 7]])
    assert int(find_ring_spots(da * 0).sum()) == 0
    assert bool(find_ring_spots(da * np.nan).all())


def test_integers_become_float():
    clean = remove_ring_spots(polar().astype(np.uint16), threshold=8, grow=0)
    assert clean.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(clean), expected(0))


def test_result_is_labelled():
    found, clean = find_ring_spots(polar()), remove_ring_spots(polar())
    assert found.attrs["history"].startswith("find_ring_spots ")
    assert clean.attrs["history"].startswith("remove_ring_spots ")
    assert found.name == "bad_pixels"
    assert clean.attrs["units"] == "1"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threshold": 0}, ValueError, "threshold=0"),
        ({"n_harmonics": 1.5}, ValueError, "n_harmonics=1.5"),
        ({"grow": -1}, ValueError, "grow=-1"),
        ({"bad_pixels": np.zeros((2, 2), bool)}, GeometryMismatchError, r"\(2, 2\)"),
    ],
)
def test_wrong_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        remove_ring_spots(polar(), **options)
