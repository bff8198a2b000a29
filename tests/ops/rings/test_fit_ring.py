"""Ring fits through the public names: input, stacks, laziness, errors."""

import pickle

import numpy as np
import pytest
import xarray as xr
from ring_images import ring_image

from xfelred.errors import GeometryMismatchError, NoDataError
from xfelred.ops import find_centre, fit_ring

SHAPE = (120, 130)
TRUTH = (66.3, 57.8, 40.6)
GUESS = (68, 56, 42)
DIMS = ("train", "slow_scan", "fast_scan")


def image(seed=1, **case):
    return ring_image(SHAPE, TRUTH[:2], TRUTH[2], seed=seed, **case)


def stack(n=4):
    values = np.array([image(seed) for seed in range(n)])
    return xr.DataArray(values, {"train": 10 + np.arange(n)}, DIMS)


def test_result_unpacks_and_has_errors():
    fit = fit_ring(image(), GUESS)
    x, y, r = fit
    np.testing.assert_allclose((x, y, r), TRUTH, atol=0.05)
    assert (x, y, r) == (fit.x, fit.y, fit.r)
    assert fit.covariance.shape == (3, 3)
    np.testing.assert_allclose(fit.errors, np.sqrt(np.diag(fit.covariance)))
    assert fit.coverage == 1
    assert fit.gap == 0
    assert 0 < fit.rms < 0.5
    assert fit.width == pytest.approx(1.5, rel=0.1)
    assert fit.tilt is None
    assert f"r={fit.r:.3f}" in repr(fit)
    copy = pickle.loads(pickle.dumps(fit))
    assert tuple(copy) == (x, y, r)


def test_all_inputs_give_the_same():
    expected = tuple(fit_ring(image(), GUESS))
    plain = xr.DataArray(image(), dims=DIMS[1:])
    for given in (
        plain,
        plain.chunk(),
        plain.rename(slow_scan="y", fast_scan="x"),
        plain.expand_dims(module=[3]),
        plain.expand_dims(pulse=[0], module=[3]),
        image().astype(np.uint16),
    ):
        np.testing.assert_allclose(tuple(fit_ring(given, GUESS)), expected, atol=1e-6)
    assert tuple(fit_ring(image(), fit_ring(image(), GUESS))) == pytest.approx(
        expected, abs=1e-2
    )


def test_a_half_ring_has_half_the_coverage():
    fit = fit_ring(image(arc=(0.5, np.pi / 2)), GUESS)
    np.testing.assert_allclose(tuple(fit), TRUTH, atol=0.2)
    assert 0.4 < fit.coverage < 0.6
    assert fit.gap == pytest.approx(np.pi, abs=0.4)
    assert fit.n_sectors >= 15


@pytest.mark.parametrize("kind", ["array", "DataArray", "bits", "module"])
def test_bad_pixels_are_left_out(kind):
    """Half of the ring is hidden by a brighter one: it counts unless it is masked."""
    bad = np.zeros(SHAPE, bool)
    bad[:, 66:] = True
    other = ring_image(SHAPE, (70.0, 60.0), 44.0, counts=1e6, background=0)
    both = np.where(bad, other, image())
    given = {
        "array": bad,
        "DataArray": xr.DataArray(bad, dims=DIMS[1:]),
        "bits": xr.DataArray(bad.astype(np.uint32) * 8, dims=DIMS[1:]),
        "module": xr.DataArray(bad[None], dims=("module", *DIMS[1:])),
    }[kind]
    da = both[None] if kind == "module" else both
    da = xr.DataArray(da, dims=("module", *DIMS[1:])[-da.ndim :])
    wrong = np.abs(np.subtract(tuple(fit_ring(da, GUESS)), TRUTH)).max()
    right = fit_ring(image(), GUESS, bad_pixels=bad)
    masked = fit_ring(da, GUESS, bad_pixels=given)
    assert wrong > 1
    np.testing.assert_allclose(tuple(masked), tuple(right), atol=1e-6)
    np.testing.assert_allclose(tuple(masked), TRUTH, atol=0.1)


def test_ellipse_reports_its_tilt():
    fit = fit_ring(image(ellipse=(0.8, -0.4)), GUESS, shape="ellipse")
    amplitude, direction = fit.tilt
    assert amplitude == pytest.approx(0.8, abs=0.05)
    assert direction == pytest.approx(-0.4, abs=0.05)
    assert fit.covariance.shape == (5, 5)


def test_no_guess_is_needed():
    np.testing.assert_allclose(tuple(fit_ring(image())), TRUTH, atol=0.05)
    guess = find_centre(image())
    np.testing.assert_allclose(tuple(guess), TRUTH, atol=2)
    assert 0 < guess.contrast <= 1
    np.testing.assert_allclose(tuple(fit_ring(image(), guess)), TRUTH, atol=0.05)


@pytest.mark.parametrize("per_chunk", [1, 3, 4])
def test_a_stack_is_fitted_lazily_frame_by_frame(per_chunk, no_compute):
    da = stack().chunk(train=per_chunk)
    with no_compute():
        out = fit_ring(da, GUESS)
    assert set(out.data_vars) == {
        "x", "y", "r", "rms", "x_error", "y_error", "r_error", "coverage",
    }  # fmt: skip
    assert out.x.dims == ("train",)
    assert out.x.chunks is not None
    assert all(v.attrs["units"] and v.attrs["long_name"] for v in out.values())
    assert out.attrs["history"].startswith("fit_ring ")
    out = out.compute()
    np.testing.assert_array_equal(out.train, da.train)
    for i in range(4):
        one = fit_ring(da[i], GUESS)
        for name in ("x", "y", "r", "rms"):
            assert float(out[name][i]) == getattr(one, name)
        np.testing.assert_allclose(
            [out[f"{n}_error"][i] for n in "xyr"], one.errors, rtol=1e-12
        )


def test_frames_of_a_stack_have_their_own_bad_pixels_and_may_have_no_ring():
    da = stack()
    bad = np.zeros(da.shape, bool)
    bad[1] = True
    bad[2, :, 66:] = True
    given = xr.DataArray(bad, da.coords, DIMS)
    da = da.copy(data=np.where(bad, 1e5, da))
    da[3] = np.random.default_rng(0).poisson(5, SHAPE)
    out = fit_ring(da, GUESS, bad_pixels=given).compute()
    np.testing.assert_array_equal(np.isnan(out.r), [False, True, False, True])
    assert out.coverage[1] == 0
    assert 0.3 < out.coverage[2] < 0.7
    np.testing.assert_allclose(out.r[[0, 2]], TRUTH[2], atol=0.2)


def test_plain_arrays_may_be_stacks():
    out = fit_ring(stack(2).values).compute()
    assert out.x.dims == ("frame",)
    np.testing.assert_allclose(out.r, TRUTH[2], atol=0.1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"guess": (60, 60)}, ValueError, "wanted \\(x, y, r\\)"),
        ({"guess": (60, np.nan, 40)}, ValueError, "guess="),
        ({"guess": (60, 60, 0)}, ValueError, "r above 0"),
        ({"shape": "square"}, ValueError, "shape='square'.*'ellipse'"),
        ({"ring_width": 1}, ValueError, "ring_width=1"),
        ({"n_sectors": 3}, ValueError, "n_sectors=3"),
        ({"bad_pixels": np.zeros((3, 3), bool)}, GeometryMismatchError, r"\(3, 3\)"),
        ({"bad_pixels": np.ones(SHAPE, bool)}, NoDataError, "0 good pixels"),
        ({"guess": (60, 60, 8)}, NoDataError, "no ring within 10 pixels"),
        ({"guess": None, "bad_pixels": np.ones(SHAPE, bool)}, NoDataError, "masked"),
    ],
)
def test_wrong_input_is_refused(change, error, message):
    options = {"guess": GUESS, **change}
    with pytest.raises(error, match=message):
        fit_ring(image(), **options)


def test_several_modules_are_refused():
    da = xr.DataArray(np.zeros((2, *SHAPE)), dims=("module", *DIMS[1:]))
    with pytest.raises(GeometryMismatchError, match="2 modules"):
        fit_ring(da, GUESS)
    with pytest.raises(GeometryMismatchError, match="one image"):
        find_centre(stack())
    with pytest.raises(GeometryMismatchError, match="shape"):
        fit_ring(np.zeros(5))
    with pytest.raises(NoDataError, match="structure"):
        find_centre(np.zeros(SHAPE))


def with_hot_pixels(kind, peak, seed):
    """Return an image with faults at some 1.5 % of its pixels, where not said."""
    values = image(seed).astype(float)
    rng = np.random.default_rng(seed + 50)
    flat = values.ravel()
    at = rng.choice(flat.size, int(0.015 * flat.size), replace=False)
    if kind == "bright":
        flat[at] = 1000 * peak * rng.uniform(0.3, 3, at.size)
    elif kind == "many":
        at = rng.choice(flat.size, int(0.08 * flat.size), replace=False)
        flat[at] = 1000 * peak
    elif kind == "weak":
        flat[at] = 15 * peak
    elif kind == "dead":
        flat[at] = -1000 * peak
    elif kind == "mixed":
        flat[at] = rng.choice([-50, -1000, 1000, 30], at.size) * peak
    else:  # columns and rows, some along the ring
        values[:, rng.integers(0, values.shape[1], 3)] = 1000 * peak
        values[rng.integers(0, values.shape[0], 2)] = -1000 * peak
    return values


@pytest.mark.parametrize("kind", ["bright", "many", "weak", "dead", "mixed", "lines"])
@pytest.mark.parametrize("seed", [1, 2])
def test_hot_pixels_without_a_mask_do_not_hide_the_ring(kind, seed):
    x, y, r = fit_ring(image(seed), GUESS)
    found = fit_ring(with_hot_pixels(kind, 100.0, seed), GUESS)
    np.testing.assert_allclose(tuple(found), (x, y, r), rtol=0, atol=0.06)
    assert found.coverage > 0.9


def test_spots_of_a_ring_are_not_taken_for_hot_pixels():
    """They lie on the ring, hot pixels anywhere."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:200, :210]
    away = np.hypot(x - 101.3, y - 98.6) - 60.2
    bright = rng.random(away.shape) < 0.3
    spots = bright * rng.exponential(400, away.shape) * np.exp(-0.5 * (away / 2) ** 2)
    found = fit_ring(rng.poisson(4, away.shape) + spots, (103, 97, 59))
    np.testing.assert_allclose(tuple(found), (101.3, 98.6, 60.2), rtol=0, atol=0.5)
