"""Ring fits of images of which the truth is known."""

import numpy as np
import pytest
from ring_images import ring_image

from xfelred.kernels.rings.find_centre import find_centre
from xfelred.kernels.rings.ring_fit import RingOptions, fit_ring, largest_gap, sectors
from xfelred.kernels.rings.ring_pixels import clipping_limit, ring_pixels

SHAPE = (180, 190)
CENTRE, RADIUS = (97.3, 84.6), 58.4
GUESS = (99.0, 82.0, 60.0)


def everything(image):
    return np.ones(image.shape, dtype=bool)


def error(image, guess=GUESS, good=None, truth=(*CENTRE, RADIUS), **options):
    good = everything(image) if good is None else good
    fit = fit_ring(image, good, guess, RingOptions(**options))
    return np.abs(fit.params[:3] - truth), fit


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("case", "limit"),
    [
        ({}, 0.1),
        ({"counts": 1e4, "background": 0.5}, 0.1),
        ({"counts": 1e4, "background": 0.02, "width": 4.0}, 0.25),  # sparse photons
        ({"hot": 80}, 0.1),
        ({"uneven": 0.95}, 0.1),
        ({"background": 300.0, "slope": 0.03}, 0.1),
        ({"arc": (0.7, np.pi / 2)}, 0.2),
        ({"arc": (-2.5, np.pi / 2), "hot": 60}, 0.2),
        ({"width": 0.7}, 0.1),
        ({"width": 3.5}, 0.1),
    ],
)
def test_truth_is_found(case, limit, seed):
    off, fit = error(ring_image(SHAPE, CENTRE, RADIUS, seed=seed, **case))
    assert off.max() < limit
    assert off[2] < 6 * np.sqrt(fit.covariance[2, 2]) + 0.01


@pytest.mark.parametrize(
    "shift", [(6, 0, 0), (0, -6, 0), (4.3, 4.3, 0), (-4, 4, 3), (0, 0, 8), (3, 3, -6)]
)
def test_guess_may_be_off(shift):
    image = ring_image(SHAPE, CENTRE, RADIUS, seed=4)
    guess = np.add((*CENTRE, RADIUS), shift)
    off, _ = error(image, tuple(guess))
    assert off.max() < 0.05
    same, _ = error(image)
    np.testing.assert_allclose(off, same, atol=5e-3)


def test_a_ring_without_noise_is_exact():
    off, fit = error(ring_image(SHAPE, CENTRE, RADIUS))
    assert off.max() < 2e-3
    assert fit.params[3] == pytest.approx(1.5, rel=1e-2)
    assert fit.used.all()


def test_dead_areas_do_not_pull_whether_masked_or_not():
    image = ring_image(SHAPE, CENTRE, RADIUS, seed=5)
    good = everything(image)
    for region in (np.s_[60:100, 140:170], np.s_[:50, 70:110], np.s_[95:99]):
        image[region] = 0
        good[region] = False
    off, masked = error(image, good=good)
    assert off.max() < 0.05
    assert masked.used.mean() < 1
    off, _ = error(image)
    assert off.max() < 0.2
    image[~good] = 1e4  # a mask that fills with a large number
    assert error(image, good=good)[0].max() < 0.05
    image[~good] = np.nan
    assert error(image)[0].max() < 0.05


def test_another_ring_beside_the_window_does_not_pull():
    image = ring_image(SHAPE, CENTRE, RADIUS, seed=6)
    image += ring_image(SHAPE, CENTRE, RADIUS + 16, seed=7, counts=3e5, background=0)
    assert error(image, (*CENTRE, RADIUS))[0].max() < 0.1


def test_photons_and_scaled_values_give_the_same():
    image = ring_image(SHAPE, CENTRE, RADIUS, seed=8)
    _, fit = error(image)
    for other in (image * 37.5 - 200, image.astype(np.uint16), image.astype(float)):
        _, same = error(other)
        np.testing.assert_allclose(same.params, fit.params, atol=1e-4)
        np.testing.assert_allclose(same.covariance, fit.covariance, rtol=1e-2)


def test_turning_the_image_turns_the_centre():
    image = ring_image(SHAPE, CENTRE, RADIUS, seed=9)
    _, fit = error(image)
    _, turned = error(
        image.T, (GUESS[1], GUESS[0], GUESS[2]), truth=(*CENTRE[::-1], RADIUS)
    )
    np.testing.assert_allclose(turned.params[[1, 0, 2]], fit.params[:3], atol=0.01)


def test_errors_are_those_that_repeated_fits_show():
    pulls = []
    for seed in range(40):
        image = ring_image((120, 120), (59.2, 61.3), 37.7, seed=seed, counts=2e4)
        _, fit = error(image, (60, 60, 39), truth=(59.2, 61.3, 37.7))
        signed = fit.params[:3] - (59.2, 61.3, 37.7)
        pulls.append(signed / np.sqrt(np.diag(fit.covariance)[:3]))
    assert np.all(np.std(pulls, axis=0) > 0.6)
    assert np.all(np.std(pulls, axis=0) < 1.5)


def test_ellipse_shows_amplitude_and_direction():
    image = ring_image(SHAPE, CENTRE, RADIUS, seed=10, ellipse=(1.2, 0.6))
    off, fit = error(image, ellipse=True)
    assert off.max() < 0.05
    c, s = fit.params[4:]
    assert np.hypot(c, s) == pytest.approx(1.2, abs=0.05)
    assert np.arctan2(s, c) / 2 == pytest.approx(0.6, abs=0.05)
    _, fit = error(ring_image(SHAPE, CENTRE, RADIUS, seed=11), ellipse=True)
    assert np.hypot(*fit.params[4:]) < 0.05


@pytest.mark.parametrize(
    ("shape", "centre", "radius"),
    [((40, 44), (21.2, 18.7), 13.3), ((301, 280), (-20.4, 140.2), 150.1)],
)
def test_small_rings_and_centres_outside_the_image(shape, centre, radius):
    image = ring_image(shape, centre, radius, seed=12)
    off, _ = error(
        image, np.add((*centre, radius), (1.5, -1, 1)), None, (*centre, radius)
    )
    assert off.max() < 0.2


def test_no_ring_is_not_found():
    rng = np.random.default_rng(13)
    noise = rng.poisson(20, SHAPE).astype(np.float32)
    options = RingOptions()
    for guess in (GUESS, (50, 50, 30), (90, 90, 75)):
        assert fit_ring(noise, everything(noise), guess, options) is None
    for image in (np.zeros(SHAPE), np.full(SHAPE, np.nan)):
        assert fit_ring(image, everything(image), GUESS, options) is None
    ring = ring_image(SHAPE, CENTRE, RADIUS)
    assert fit_ring(ring, ~everything(ring), GUESS, options) is None
    assert fit_ring(ring, everything(ring), (5000.0, 0.0, 20.0), options) is None


@pytest.mark.parametrize(
    ("centre", "case", "limit"),
    [
        ((97.3, 84.6), {}, 2.0),
        ((97.3, 84.6), {"hot": 40}, 2.0),
        ((60.2, 130.9), {"background": 200.0, "slope": 0.03}, 2.0),
        ((30.1, 25.7), {}, 2.0),  # a quarter of the ring is on the image
        ((97.3, 84.6), {"arc": (0.3, np.pi / 2)}, 3.0),
        ((-12.0, 90.0), {}, 4.0),
    ],
)
def test_centre_is_found_without_a_guess(centre, case, limit):
    image = ring_image(SHAPE, centre, RADIUS, seed=14, **case)
    *found, contrast = find_centre(image, everything(image))
    np.testing.assert_allclose(found, (*centre, RADIUS), atol=limit)
    assert contrast > 0.1
    off, _ = error(image, tuple(found), truth=(*centre, RADIUS))
    assert off.max() < 0.2


def test_centre_is_found_beside_missing_halves_and_beam_stops():
    image = ring_image(SHAPE, CENTRE, RADIUS, seed=15)
    good = everything(image)
    good[:, :90] = False
    good[80:90] = False
    image[~good] = 0
    x, y, r, _ = find_centre(image, good)
    np.testing.assert_allclose((x, y, r), (*CENTRE, RADIUS), atol=3)


def test_nothing_to_find_gives_nan():
    for image in (np.zeros((30, 30)), np.full((30, 30), np.nan), np.zeros((2, 2))):
        assert np.isnan(find_centre(image, everything(image))).all()
    noise = np.random.default_rng(0).normal(size=(100, 100))
    assert find_centre(noise, everything(noise))[3] < 0.05


def test_hot_pixels_are_left_out_and_sparse_photons_are_not():
    image = ring_image(SHAPE, CENTRE, RADIUS, seed=16, hot=80)
    pixels = ring_pixels(image, everything(image), (*CENTRE, RADIUS), 10.0, 72)
    assert pixels.value.max() < 500
    sparse = np.random.default_rng(17).poisson(0.005, SHAPE)
    pixels = ring_pixels(sparse, everything(sparse), (*CENTRE, RADIUS), 10.0, 72)
    y, x = np.indices(SHAPE)
    inside = np.abs(np.hypot(x - CENTRE[0], y - CENTRE[1]) - RADIUS) < 10
    assert pixels.value.sum() == sparse[inside].sum()


def test_clipping_stops_where_the_signal_begins():
    values = np.r_[np.random.default_rng(18).normal(size=1000), [1e3, 1e6]]
    assert clipping_limit(values) == pytest.approx(6, rel=0.1)
    assert clipping_limit(np.r_[np.zeros(1000), [1.0, 1.0]]) == np.inf
    assert clipping_limit(np.zeros(0)) == np.inf
    assert clipping_limit(np.full(7, 2.0)) >= 2


def test_sectors_and_gaps():
    assert sectors(1000.0, RingOptions()) == 72
    assert sectors(3.0, RingOptions()) == 8
    used = np.array([True, True, False, False, True, False, True, True])
    assert largest_gap(used) == pytest.approx(2 * np.pi * 2 / 8)
    assert largest_gap(np.roll(used, 3)) == largest_gap(used)
    assert largest_gap(np.zeros(8, bool)) == pytest.approx(2 * np.pi)
