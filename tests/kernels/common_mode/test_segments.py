"""Stages of common modes, against slow loops."""

import numpy as np
import pytest

from xfelred.kernels.common_mode import zero_peak
from xfelred.kernels.common_mode.segments import (
    Correction,
    Groups,
    Offset,
    PixelRuns,
    WithoutPhotons,
    ZeroPeak,
    common_mode_offsets,
    subtract_common_mode,
    without_photons,
)

SHAPE = (12, 40)
GROUPS = [(1, 10, 1), (1, 40, 1), (6, 1, 1), (12, 1, 1), (6, 10, 1), (12, 40, 1),
          (1, 20, 2), (3, 4, 5)]  # fmt: skip


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    images = rng.normal(3, 5, (2, 3, *SHAPE)).astype("f4")
    images[rng.random(images.shape) < 0.05] = np.nan
    return images


@pytest.fixture
def bad():
    return np.random.default_rng(1).random((1, 3, *SHAPE)) < 0.2


def group_slices(shape):
    height, width, stride = shape
    for phase in range(stride):
        for top in range(0, SHAPE[0], height):
            for left in range(phase, SHAPE[1], width * stride):
                yield np.s_[top : top + height, left : left + width * stride : stride]


def slowly(images, bad, groups):
    """Return (corrected, offsets, counts), with one loop over the groups."""
    out = images.copy()
    offsets, counts = [], []
    for index in np.ndindex(images.shape[:-2]):
        good = ~bad[0, index[1]] if bad is not None else np.ones(SHAPE, bool)
        for part in group_slices(groups.shape):
            v = out[index][part]
            ok = good[part] & (v >= groups.low) & (v <= groups.high)
            cm = np.nan
            if ok.any():
                cm = v[ok].mean(dtype="f8") if groups.mean else np.median(v[ok])
            applied = ok.sum() >= groups.least and abs(cm) <= groups.limit
            if applied:
                where = good[part] if groups.only_used else np.ones(v.shape, bool)
                v[where] -= np.float32(cm)
            counts.append(ok.sum())
            offsets.append(cm if applied else np.nan)
    lead = images.shape[:-2]
    return out, np.reshape(offsets, (*lead, -1)), np.reshape(counts, (*lead, -1))


@pytest.mark.parametrize("shape", GROUPS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"only_used": True}, {"least": 5, "limit": 4.0}, {"low": -4.0, "high": 9.0}],
)
def test_groups_are_those_of_a_loop(images, bad, shape, masked, options):
    stage = Groups("x", shape, **options)
    expected, offsets, counts = slowly(images, bad if masked else None, stage)
    companions = (bad,) if masked else ()
    correction = Correction((stage,), ("bad_pixels",) if masked else ())
    before = images.copy()
    out = subtract_common_mode(images, *companions, correction=correction)
    np.testing.assert_array_equal(out, expected)
    found = common_mode_offsets(images, *companions, correction=correction)
    np.testing.assert_array_equal(found[..., 0, :], offsets)
    np.testing.assert_array_equal(found[..., 1, :], counts)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("shape", GROUPS)
def test_means(images, bad, shape):
    stage = Groups("x", shape, mean=True)
    expected, _, _ = slowly(images, bad, stage)
    correction = Correction((stage,), ("bad_pixels",))
    out = subtract_common_mode(images, bad, correction=correction)
    np.testing.assert_allclose(out, expected, atol=2e-6)


def test_an_offset_of_whole_groups_is_taken_away(images):
    correction = Correction((Groups("row", (1, 10, 1)),))
    offset = np.repeat(np.arange(4.0), 10).astype("f4")
    plain = subtract_common_mode(images, correction=correction)
    shifted = subtract_common_mode(images + offset, correction=correction)
    np.testing.assert_allclose(plain, shifted, atol=2e-6)
    again = subtract_common_mode(plain, correction=correction)
    np.testing.assert_allclose(plain, again, atol=1e-6)


def test_groups_without_a_good_pixel_are_left_unchanged(images):
    correction = Correction((Groups("all", (*SHAPE, 1)),), ("bad_pixels",))
    bad = np.ones((1, 1, *SHAPE), "u1")
    out = subtract_common_mode(images, bad, correction=correction)
    np.testing.assert_array_equal(out, images)
    found = common_mode_offsets(images, bad, correction=correction)
    assert np.isnan(found[..., 0, :]).all()
    assert not found[..., 1, :].any()


def test_infinite_medians_are_not_subtracted():
    image = np.full((2, 4), np.inf, "f4")
    image[1] = [np.inf, -np.inf, 1, np.inf]
    out = subtract_common_mode(image, correction=Correction((Groups("r", (1, 4, 1)),)))
    np.testing.assert_array_equal(out, image)


def test_companions_of_whole_frames_and_gain_ranges(images, bad):
    use = np.array([True, False])[:, None, None, None]
    gain = np.random.default_rng(2).integers(0, 3, images.shape).astype("u1")
    stage = Groups("row", (1, 10, 1), only_used=True)
    correction = Correction((stage,), ("use", "gain_range", "bad_pixels"), (0, 2))
    out = subtract_common_mode(images, use, gain, bad, correction=correction)
    np.testing.assert_array_equal(out[1], images[1])
    for m in range(3):
        excluded = bad[0, m] | (gain[0, m] == 1)
        expected, _, _ = slowly(images[:1, m : m + 1], excluded[None, None], stage)
        np.testing.assert_array_equal(out[0, m], expected[0, 0])


@pytest.mark.parametrize("dtype", ["u2", "i4", "f4", "f8"])
def test_precision_of_the_result_is_as_asked(dtype):
    image = np.arange(480).reshape(SHAPE).astype(dtype)
    correction = Correction((Groups("all", (*SHAPE, 1)),))
    for wanted in ("float32", "float64"):
        out = subtract_common_mode(image, correction=correction, dtype_name=wanted)
        assert out.dtype == wanted
        np.testing.assert_array_equal(out, image - np.median(image))


@pytest.mark.parametrize("neighbours", [False, True])
@pytest.mark.parametrize("inclusive", [False, True])
def test_photons_are_excluded_as_in_a_loop(images, bad, neighbours, inclusive):
    image, good = np.round(images[0, 0]), ~bad[0, 0]
    expected = good & (np.abs(image) <= 11)
    for r, c in np.ndindex(SHAPE):
        if image[r, c] > 8 or (inclusive and image[r, c] == 8):
            near = [(r, c)]
            if neighbours:
                near += [(r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)]
            for i, j in near:
                if 0 <= i < SHAPE[0] and 0 <= j < SHAPE[1]:
                    expected[i, j] = False
    limits = np.full(SHAPE, 8, "f4")
    out = without_photons(image, good.view("u1"), limits, inclusive, neighbours, 11.0)
    np.testing.assert_array_equal(out, expected)
    everything = without_photons(
        image, np.empty((0, 0), "u1"), limits, inclusive, neighbours, 11.0
    )
    np.testing.assert_array_equal(everything & good, expected)


def test_exclusion_holds_for_one_frame_only(images):
    stages = (WithoutPhotons(4.0), Groups("all", (*SHAPE, 1)))
    correction = Correction(stages)
    both = subtract_common_mode(images, correction=correction)
    for index in np.ndindex(images.shape[:-2]):
        one = subtract_common_mode(images[index], correction=correction)
        np.testing.assert_array_equal(one, both[index])
        kept = images[index][images[index] <= 4]
        expected = images[index] - np.median(kept)
        np.testing.assert_array_equal(one, expected)


@pytest.mark.parametrize("mean", [False, True])
def test_runs_are_those_of_a_loop(images, bad, mean):
    stage = PixelRuns(100, 8.0, 5.0, mean)
    correction = Correction((stage,), ("bad_pixels",))
    out = subtract_common_mode(images, bad, correction=correction)
    for index in np.ndindex(images.shape[:-2]):
        flat, good = images[index].ravel(), ~bad[0, index[1]].ravel()
        expected = flat.copy()
        for first in range(0, flat.size, 100):
            part = slice(first, first + 100)
            kept = flat[part][good[part] & (flat[part] < 8)].astype("f8")
            kept = kept if mean else np.sort(np.trunc(kept))
            cm = kept.mean() if mean else kept[(len(kept) + 1) // 2 - 1]
            if abs(cm) <= 5:
                expected[part] -= np.float32(cm)
        np.testing.assert_allclose(out[index].ravel(), expected, atol=1e-6)


@pytest.mark.parametrize("shift", [-40.0, 0.0, 12.3])
def test_zero_peak_is_found_below_photons(shift):
    rng = np.random.default_rng(4)
    image = rng.normal(shift, 4, (185, 388)).astype("f4")
    image[rng.random(image.shape) < 0.1] += 60
    position, sigma, n = zero_peak.peak_of(image, np.empty((0, 0), "u1"), 100)
    assert position == pytest.approx(shift, abs=0.1)
    assert sigma == pytest.approx(4, rel=0.3)
    assert n == image.size
    out = subtract_common_mode(
        image[None], correction=Correction((ZeroPeak(25, 40, 100),))
    )
    expected = image - np.float32(position) if abs(shift) < 25 else image
    np.testing.assert_array_equal(out[0], expected)


def test_no_peak_no_offset():
    few = np.zeros((9, 10), "f4")
    for image in (few, np.full((185, 388), np.nan, "f4"), np.full((40, 40), 1e6, "f4")):
        found = zero_peak.peak_of(image, np.empty((0, 0), "u1"), 100)
        assert np.isnan(found[0])
        out = subtract_common_mode(image, correction=Correction((ZeroPeak(25, 40, 0),)))
        np.testing.assert_array_equal(out, image)


def test_dark_region(images):
    stage = Offset("dark", (2, 5), (10, 30))
    out = subtract_common_mode(images, correction=Correction((stage,)))
    dark = np.nanmedian(images[..., 2:5, 10:30], axis=(-2, -1), keepdims=True)
    np.testing.assert_array_equal(out, images - dark)
    noted = Offset("dark", (2, 5), (10, 30), apply=False)
    out = subtract_common_mode(images, correction=Correction((noted,)))
    np.testing.assert_array_equal(out, images)
    found = common_mode_offsets(images, correction=Correction((noted,)))
    np.testing.assert_array_equal(found[..., 0, 0], dark[..., 0, 0])


def test_no_frames(images):
    correction = Correction((Groups("row", (1, 10, 1)),))
    assert subtract_common_mode(images[:0], correction=correction).shape[0] == 0
    assert common_mode_offsets(images[:0], correction=correction).shape == (
        0, 3, 2, 48,
    )  # fmt: skip
